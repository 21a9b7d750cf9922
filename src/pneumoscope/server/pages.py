"""The operator's pages: the list of studies, one study, results to look at or to keep. They work without scripts."""

from functools import cache
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, certainty, parse_date, percent, person_names
from pneumoscope.server import acts, looking
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.dicomweb.paths import PREFIX, Study
from pneumoscope.server.journal import note, note_often
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import now, readings
from pneumoscope.store.schema import DeliveryState, Priority, StudyState

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
    return _page("list.html", studies=found, counts=counts, state=state, uploaded=uploaded, most=looking.NEWEST)


@router.get("/upload", dependencies=[needs(Right.UPLOAD)])
def upload_form() -> Response:
    """Where studies are uploaded."""
    return _page("upload.html")


@router.get("/studies/{study}", dependencies=[needs(Right.OPEN)])
def study(request: Request, desk: AtDesk, study: Study) -> Response:
    """One study."""
    row = acts.study_row(request, study)
    note(request, "view", study=study)
    with desk.store.database.look() as db:
        found = looking.whole(db, row)
    return _page("study.html", **found, dicomweb=PREFIX)


@router.post("/studies/{study}/read", dependencies=[needs(Right.OPERATE)])
def read(request: Request, study: Study) -> Response:
    """Read again, and show the study."""
    acts.read_again(request, study)
    return RedirectResponse(f"/studies/{study}", 303)


@router.post("/deliveries/{delivery_id}/resend", dependencies=[needs(Right.OPERATE)])
def resend(request: Request, delivery_id: str) -> Response:
    """Send once more, and show the study."""
    _, study = acts.resend(request, delivery_id)
    return RedirectResponse(f"/studies/{study}", 303)


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


@router.get("/page.css")
def style() -> Response:
    """The pages' style sheet."""
    return Response(_environment().get_template("page.css").render(), media_type="text/css")


def _page(name: str, **values: Any) -> Response:  # noqa: ANN401 - what a template takes
    content = _environment().get_template(name).render(not_for_diagnosis=NOT_FOR_DIAGNOSIS, now=now(), **values)
    return Response(content, media_type="text/html")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pneumoscope.server", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "names": person_names,
        "day": _day,
        "moment": lambda value: f"{value:%Y-%m-%d %H:%M:%S}" if value else "",
        "percent": percent,
        "certainty": certainty,
        "size": lambda size: f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB",
    }
    environment.tests["stuck"] = lambda state: state == DeliveryState.STOPPED
    environment.globals |= {"urgency": _urgency, "states": list(StudyState)}
    return environment


def _day(value: str) -> str:
    parsed = parse_date(value)
    return parsed.isoformat() if parsed else value


def _urgency(priority: int) -> str:
    return Priority(priority).name.lower() if priority in list(Priority) else str(priority)
