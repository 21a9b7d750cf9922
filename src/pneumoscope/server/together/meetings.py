"""A meeting's pages: it is begun from a study, joined by its link, ended by its host.

A link gives no right: who follows it must be logged in and be allowed to open studies.
"""

from datetime import timedelta

import anyio.to_thread
import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from pneumoscope.server import acts
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.paths import PREFIX, Study
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import audit, meetings

router = APIRouter(dependencies=[needs(Right.OPEN)])
ACTION = "read together"
#: On this page only a camera and a microphone may be asked for.
_HEADERS = {"Permissions-Policy": "camera=(self), geolocation=(), microphone=(self)"}


@router.post("/studies/{study}/together")
async def begin(request: Request, desk: AtDesk, study: Study) -> Response:
    """Begin a meeting, and go there by its link."""
    begun = await anyio.to_thread.run_sync(_begin, request, desk, study)
    for meeting_id in begun.ended:
        desk.rooms.end(meeting_id)
    return RedirectResponse(f"/together/{begun.id}?invite={begun.invite}", 303)


def _begin(request: Request, desk: Desk, study: str) -> meetings.Begun:
    acts.study_row(request, study)
    longest = timedelta(seconds=desk.settings.together.longest_s)
    with desk.store.database.begin() as db:
        _note(db, request, study, "Begun.")
        return meetings.begin(db, study, host=visitor_of(request).identity, longest=longest)


@router.get("/together/{meeting_id}")
def room(request: Request, desk: AtDesk, meeting_id: str, invite: str = "") -> Response:
    """Where people read together."""
    with desk.store.database.look() as db:
        row = meetings.find(db, meeting_id, invite=invite)
    if row is None:
        return page(request, "together_over.html", status=404)
    study = acts.study_row(request, row["StudyInstanceUID"])
    note(request, "view", study=study["StudyInstanceUID"], detail="Together.")
    is_host = row["host"] == visitor_of(request).identity
    response = page(request, "together.html", study=study, meeting=row, is_host=is_host, dicomweb=PREFIX)
    response.headers.update(_HEADERS)
    return response


@router.post("/together/{meeting_id}/end")
async def end(request: Request, desk: AtDesk, meeting_id: str) -> Response:
    """The host sends everyone away; the link is dead from then on."""
    await anyio.to_thread.run_sync(_end, request, desk, meeting_id)
    desk.rooms.end(meeting_id)
    return Response(status_code=204)


def _end(request: Request, desk: Desk, meeting_id: str) -> None:
    with desk.store.database.begin() as db:
        study = meetings.end(db, meeting_id, host=visitor_of(request).identity)
        if study is None:
            raise Problem(404, "no-such-meeting", "There is no such meeting here that you could end.")
        _note(db, request, study, "Ended.")


def _note(db: sa.Connection, request: Request, study: str, detail: str) -> None:
    """With what is done, or not at all."""
    visitor = visitor_of(request)
    audit.record(db, action=ACTION, actor=visitor.actor, address=visitor.address, StudyInstanceUID=study, detail=detail)
