"""What pages do and give besides the worklist and a study: results to look at or keep, reading and sending again."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from pneumoscope.results import PAGE_PICTURE
from pneumoscope.server import acts
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.dicomweb.paths import Study
from pneumoscope.server.journal import note, note_often, visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import readings

router = APIRouter()
_SHOWN = ("text/html", "image/jpeg", "image/png")
#: A result is shown as a document of no origin: it can run nothing, send nothing and load nothing.
RESULT_POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)


@router.post("/studies/{study}/read", dependencies=[needs(Right.OPERATE)])
def read(request: Request, study: Study) -> Response:
    """Read again, and show the study."""
    acts.read_again(request, study)
    return _to_study(request, study)


@router.post("/deliveries/{delivery_id}/resend", dependencies=[needs(Right.OPERATE)])
def resend(request: Request, delivery_id: str) -> Response:
    """Send once more, and show the study."""
    _, study = acts.resend(request, delivery_id)
    return _to_study(request, study)


@router.get("/readings/{reading_id}/{name}", dependencies=[needs(Right.OPEN)])
def result(request: Request, desk: AtDesk, reading_id: str, name: str) -> Response:
    """A stored result: the report to look at, all else to keep."""
    with desk.store.database.look() as db:
        stored = {found.name: found for found in readings.parcels(db, reading_id)}
        if name not in stored:
            raise Problem(404, "no-such-result", "There is no such result here.")
        study = readings.get(db, reading_id)["StudyInstanceUID"]
    if name.startswith(PAGE_PICTURE):  # a page shows many at once
        note_often(request, "view", study=study, detail="Pictures of a reading.")
    else:
        note(request, "view", study=study, detail=f"Result {name}.")
    found = stored[name]
    path = desk.store.files.path(found.key)
    if not path.is_file():
        raise FileNotFoundError
    return FileResponse(
        path,
        media_type=found.media_type,
        filename=name,
        content_disposition_type="inline" if found.media_type in _SHOWN else "attachment",
        headers={"Content-Security-Policy": RESULT_POLICY},
    )


def _to_study(request: Request, study: str) -> Response:
    """Whoever may not open it goes back to the list."""
    return RedirectResponse(f"/studies/{study}" if Right.OPEN in visitor_of(request).rights else "/", 303)
