"""The channel between one browser and its room."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import anyio
import anyio.to_thread
import sqlalchemy as sa
import structlog
from anyio.abc import TaskGroup
from fastapi import APIRouter, Query, WebSocket
from sqlalchemy.exc import SQLAlchemyError
from starlette.websockets import WebSocketDisconnect

from pneumoscope.server.credentials import known_roles, limits_of
from pneumoscope.server.desk import Desk, desk_of
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.rights import Right, needs, rights_of
from pneumoscope.server.together import helpers
from pneumoscope.server.together.meetings import ACTION
from pneumoscope.server.together.messages import parse
from pneumoscope.server.together.room import Close, Person, Seat
from pneumoscope.store import meetings, sessions

router = APIRouter(dependencies=[needs(Right.OPEN)])
#: Whether someone may still be there is looked up so often.
EVERY_S = 5.0
_TRY_AGAIN_LATER = 1013
log = structlog.get_logger()


@router.websocket("/together/{meeting_id}/channel")
async def channel(
    websocket: WebSocket,
    meeting_id: str,
    tab: Annotated[str, Query(pattern=r"^[0-9a-f-]{8,36}$")],
    invite: str = "",
) -> None:
    """Messages, each a text frame of JSON, until either side ends."""
    desk = desk_of(websocket)

    def find() -> sa.RowMapping | None:
        with desk.store.database.look() as db:
            return meetings.find(db, meeting_id, invite=invite)

    row = await anyio.to_thread.run_sync(find)
    with suppress(WebSocketDisconnect):  # it may be gone before it is answered
        await websocket.accept()
        if row is None:
            await websocket.close(Close.NO_SUCH_MEETING)
        else:
            await _attend(websocket, desk, row, tab)


async def _attend(websocket: WebSocket, desk: Desk, row: sa.RowMapping, tab: str) -> None:
    visitor, meeting_id = visitor_of(websocket), row["id"]

    def tell(detail: str, outcome: str = "success") -> None:
        note(websocket, ACTION, study=row["StudyInstanceUID"], detail=detail, outcome=outcome)

    is_host = row["host"] == visitor.identity
    person = Person(identity=visitor.identity, name=visitor.name or visitor.actor, is_host=is_host, tab=tab)
    seat = desk.rooms.join(meeting_id, person)
    if seat is None:
        await anyio.to_thread.run_sync(tell, "All seats were taken.", "refused")
        await websocket.close(Close.FULL)
        return
    try:
        await anyio.to_thread.run_sync(tell, "Joined.")
        seat.tell({"kind": "ice", "servers": helpers.told(desk.settings.together.ice_servers, until=row["expires_at"])})
        await _converse(websocket, desk, meeting_id, seat)
    except SQLAlchemyError as fault:  # the page comes again
        log.warning("Nobody can join a meeting now", fault=type(fault).__name__)
        await websocket.close(_TRY_AGAIN_LATER)
    finally:
        desk.rooms.leave(meeting_id, seat)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_let_go, tell)


def _let_go(tell: Callable[[str], None]) -> None:
    try:
        tell("Left.")
    except SQLAlchemyError as fault:
        log.warning("That someone left a meeting could not be noted", fault=type(fault).__name__)


async def _converse(websocket: WebSocket, desk: Desk, meeting_id: str, seat: Seat) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_watch, websocket, desk, meeting_id, seat)
        group.start_soon(_listen, websocket, desk, meeting_id, seat, group)
        try:
            async for text in seat.incoming:
                await websocket.send_text(text)
            await websocket.close(seat.why_closed or Close.ENDED)
        except WebSocketDisconnect:
            pass
        group.cancel_scope.cancel()


async def _listen(websocket: WebSocket, desk: Desk, meeting_id: str, seat: Seat, group: TaskGroup) -> None:
    while (received := await websocket.receive())["type"] != "websocket.disconnect":
        try:
            message = parse(received.get("text") or "")
        except ValueError:
            seat.close(Close.WRONG_MESSAGE)
            return
        if not seat.may_speak(time.monotonic()):
            seat.close(Close.TOO_FAST)
            return
        desk.rooms.take(meeting_id, seat, message)
    group.cancel_scope.cancel()


async def _watch(websocket: WebSocket, desk: Desk, meeting_id: str, seat: Seat) -> None:
    """Sees to it that nobody stays who has been logged out or has lost the right, nor anyone when time is over."""
    while True:
        active, seat.active = seat.active, False
        try:
            why = await anyio.to_thread.run_sync(_why_not, websocket, desk, meeting_id, active)
        except SQLAlchemyError as fault:  # the database is away for a moment
            log.warning("Whether a meeting goes on could not be looked up", fault=type(fault).__name__)
            why = None
        if why is not None:
            seat.close(why)
            return
        await anyio.sleep(EVERY_S)


def _why_not(websocket: WebSocket, desk: Desk, meeting_id: str, active: bool) -> Close | None:
    visitor = visitor_of(websocket)
    with desk.store.database.look() as db:
        if not meetings.is_open(db, meeting_id):
            return Close.ENDED
        if not visitor.session_id:  # a program, whose token holds as long as this process
            return None
        row = sessions.of_id(db, visitor.session_id, limits=limits_of(desk.settings.people))
    if row is None or Right.OPEN not in rights_of(known_roles(row["roles"])):
        return Close.NOT_ALLOWED
    if active and sessions.is_stale(row["seen_at"]):
        with desk.store.database.begin() as db:
            sessions.touch(db, visitor.session_id)
    return None
