"""The same as the pages, for programs."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response

from pneumoscope.server import acts, looking
from pneumoscope.server.auditevents import bundle
from pneumoscope.server.comfort import language_of
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.dicomweb.paths import Study
from pneumoscope.server.journal import note, note_often
from pneumoscope.server.language import speaking
from pneumoscope.server.language.sentences import worded
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import audit, readings

router = APIRouter(prefix="/api")
_INTERNAL = {"key", "process_id", "workflow_id", "taken_revision", "listed"}


@router.get("/studies", dependencies=[needs(Right.LIST)])
def studies(request: Request, desk: AtDesk, state: str = "") -> Response:
    """Studies with their latest reading, the last to arrive first."""
    with desk.store.database.look() as db:
        found = looking.newest(db, state=state)
    note_often(request, "query", detail="The list of studies.")
    return _json({"studies": found})


@router.get("/studies/{study}", dependencies=[needs(Right.OPEN)])
def study(request: Request, desk: AtDesk, study: Study) -> Response:
    """One study: versions of its reading, results, deliveries, what was set aside."""
    row = acts.study_row(request, study)
    note(request, "view", study=study)
    with desk.store.database.look() as db:
        return _json(looking.whole(db, row))


@router.get("/studies/{study}/state", dependencies=[needs(Right.LIST)])
def state(request: Request, desk: AtDesk, study: Study) -> Response:
    """What the list says of one study: how far its reading is, what came of it, and whether that is all that is here.

    In words of the language that is asked for, as pages are, since the upload page shows it.
    """
    row = acts.study_row(request, study)
    note_often(request, "query", study=study, detail="The state of a study.")
    with desk.store.database.look() as db:
        latest = next(iter(readings.versions(db, study)), None)
    headline = (latest and latest["headline"]) or ""
    with speaking(language_of(request)):
        told = {"state": row["state"], "code": row["code"], "message": worded(row["message"]), "headline": worded(headline)}
    return _json(told | {"settled": row["taken_revision"] >= row["revision"]})


@router.post("/studies/{study}/read", dependencies=[needs(Right.OPERATE)])
def read(request: Request, study: Study) -> Response:
    """Read a study again as it stands."""
    return _json({"reading": acts.read_again(request, study)}, 202)


@router.post("/deliveries/{delivery_id}/resend", dependencies=[needs(Right.OPERATE)])
def resend(request: Request, delivery_id: str) -> Response:
    """Send results once more."""
    return _json({"delivery": acts.resend(request, delivery_id)[0]}, 202)


@router.get("/audit", dependencies=[needs(Right.AUDIT)])
def audit_trail(
    request: Request, desk: AtDesk, after: Annotated[int, Query(ge=0)] = 0, count: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """The audit trail as FHIR AuditEvents, from the one after ``after``."""
    with desk.store.database.look() as db:
        rows = audit.entries(db, after_id=after, limit=count)
    note(request, "audit", detail=f"{len(rows)} entries were read.")
    base = str(request.base_url).rstrip("/")
    return JSONResponse(bundle(rows, base=base, after=after, count=count), media_type="application/fhir+json")


def _json(content: object, status: int = 200) -> Response:
    return JSONResponse(_public(jsonable_encoder(content)), status)


def _public(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Without what only the node's own processes need."""
    if isinstance(value, dict):
        return {key: _public(part) for key, part in value.items() if key not in _INTERNAL}
    return [_public(part) for part in value] if isinstance(value, list) else value
