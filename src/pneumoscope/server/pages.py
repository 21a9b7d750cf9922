"""The operator's pages: the list of studies, one study, results to look at or to keep. They work without scripts."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from pneumoscope.server import acts, looking, review
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.dicomweb.paths import PREFIX, Study
from pneumoscope.server.journal import note, note_often, visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import readings

router = APIRouter()
#: A result is shown as a document of no origin: it can run nothing, send nothing and load nothing.
RESULT_POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_UPLOADED = ("filed", "duplicate", "own", "changed", "unreadable", "refused")


@router.get("/", dependencies=[needs(Right.LIST)])
def index(request: Request, desk: AtDesk, state: str = "") -> Response:
    """The list of studies."""
    with desk.store.database.look() as db:
        found, counts = looking.newest(db, state=state), looking.counts(db)
    note_often(request, "query", detail="The list of studies.")
    uploaded = {name: int(n) for name in _UPLOADED if (n := request.query_params.get(name, "")).isdigit() and len(n) < 7}
    return page(request, "list.html", studies=found, counts=counts, state=state, uploaded=uploaded, most=looking.NEWEST)


@router.get("/studies/{study}", dependencies=[needs(Right.OPEN)])
def study(request: Request, desk: AtDesk, study: Study) -> Response:
    """One study."""
    row = acts.study_row(request, study)
    note(request, "view", study=study)
    with desk.store.database.look() as db:
        found = looking.whole(db, row)
    return page(request, "study.html", **found, judging=review.panel(request), dicomweb=PREFIX)


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
    note(request, "view", study=study, detail=f"Result {name}.")
    found = stored[name]
    path = desk.store.files.path(found.key)
    if not path.is_file():
        raise FileNotFoundError
    return FileResponse(
        path,
        media_type=found.media_type,
        filename=name,
        content_disposition_type="inline" if found.media_type == "text/html" else "attachment",
        headers={"Content-Security-Policy": RESULT_POLICY},
    )


def _to_study(request: Request, study: str) -> Response:
    """Whoever may not open it goes back to the list."""
    return RedirectResponse(f"/studies/{study}" if Right.OPEN in visitor_of(request).rights else "/", 303)
