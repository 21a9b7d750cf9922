"""What a person sees in a study of which no model's word is shown: by the study's page, or by a program from a report."""

import json

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from pneumoscope.fleet.messages import Answer
from pneumoscope.server import acts, guests
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.paths import Study
from pneumoscope.server.journal import visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import audit, readings, verdicts
from pneumoscope.store.schema import ReadingState, StudyState

router = APIRouter()
MOST_BODY_BYTES = 4096


@router.post("/studies/{study}/verdict", dependencies=[needs(Right.JUDGE)])
async def give(request: Request, desk: AtDesk, study: Study) -> Response:
    """Keep a verdict: ``category`` of a form or a JSON object is sign, indeterminate or no-sign."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MOST_BODY_BYTES:
        raise Problem(413, "body-too-large", f"A body of at most {MOST_BODY_BYTES} bytes is taken, whose length is told.")
    if request.headers.get("content-type", "").startswith("application/json"):
        told = _from_json(await request.body())
    else:
        async with request.form(max_files=0, max_fields=5) as form:
            told = form.get("category")
    category = next((one for one in verdicts.ALLOWED if one == told), None)
    if category is None:
        raise Problem(422, "verdict-wrong", "A verdict is one of sign, indeterminate and no-sign.")
    return await anyio.to_thread.run_sync(_keep, request, desk, study, category)


def _from_json(body: bytes) -> object:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found.get("category") if isinstance(found, dict) else None


def _keep(request: Request, desk: Desk, study: str, category: Answer) -> Response:
    visitor, row = visitor_of(request), acts.study_row(request, study)
    by_page = bool(visitor.account_id or visitor.guest)
    with desk.store.database.look() as db:
        shown = any(version["state"] == ReadingState.READ for version in readings.versions(db, study))
    if by_page and (shown or row["state"] != StudyState.HELD):
        raise Problem(409, "not-blind", "The reading of this study is shown; blind verdicts are given while it is held.")
    with desk.store.database.begin() as db:
        verdict_id = verdicts.add(db, study, category, reader=visitor.actor, source="page" if by_page else "report")
        detail = "A verdict was given without the model's word."
        audit.record(db, action="verdict", actor=visitor.actor, address=visitor.address, StudyInstanceUID=study, detail=detail)
        guests.answered(db, visitor)
    if visitor.guest:
        return RedirectResponse(guests.farewell(visitor), 303)
    return RedirectResponse(f"/studies/{study}#verdict", 303) if by_page else JSONResponse({"id": verdict_id}, 201)
