"""UPS-RS: who is told of work items, and the channel by which it is told (PS3.18 8.10, 11.10 to 11.13)."""

import json
from contextlib import suppress
from urllib.parse import parse_qsl, quote

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.websockets import WebSocketDisconnect

from pneumoscope.server.credentials import known_roles, limits_of
from pneumoscope.server.desk import AtDesk, Desk, desk_of
from pneumoscope.server.dicomweb.paths import PREFIX, AeTitle, Workitem, root_of
from pneumoscope.server.dicomweb.query import value_of
from pneumoscope.server.dicomweb.workitems import answered, path_of, warned
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.problems import Problem, answer
from pneumoscope.server.rights import Right, needs, rights_of
from pneumoscope.store import sessions, subscriptions
from pneumoscope.store.subscriptions import EVERYTHING, FILTERED
from pneumoscope.ups.states import Status

router = APIRouter(prefix=PREFIX, dependencies=[needs(Right.OPERATE)])
#: What an event waits at most before it is sent.
EVERY_S = 0.25
#: Whether a person who listens may still do so is looked up so often.
LOOK_EVERY_S = 3.0
_NOT_ALLOWED, _TRY_AGAIN_LATER = 1008, 1013
log = structlog.get_logger()


@router.post("/workitems/{workitem}/subscribers/{ae_title}")
def subscribe(request: Request, desk: AtDesk, workitem: Workitem, ae_title: AeTitle) -> Response:
    """Tell ``ae_title`` of a work item, of all, or of all that match."""
    keys = _filter(request) if workitem == FILTERED else None
    with desk.store.database.begin() as db:
        if workitem in (EVERYTHING, FILTERED):
            subscriptions.subscribe_globally(db, ae_title, keys)
        elif not subscriptions.subscribe(db, ae_title, workitem):
            return answered(Status.UNKNOWN)
    note(request, "subscribe", detail="To one work item." if workitem not in (EVERYTHING, FILTERED) else "To work items.")
    place = root_of(request).replace("http", "ws", 1)
    headers = {"Content-Location": f"{place}/subscribers/{quote(ae_title)}"}
    if request.query_params.get("deletionlock", "false") != "false":
        headers |= warned("Deletion Lock not granted.")
    return Response(status_code=201, headers=headers)


@router.delete("/workitems/{workitem}/subscribers/{ae_title}")
def unsubscribe(request: Request, desk: AtDesk, workitem: Workitem, ae_title: AeTitle) -> Response:
    """Tell it no more."""
    with desk.store.database.begin() as db:
        found = subscriptions.unsubscribe(db, ae_title, workitem)
    return _ended(request, found=found)


@router.post("/workitems/{workitem}/subscribers/{ae_title}/suspend")
def suspend(request: Request, desk: AtDesk, workitem: Workitem, ae_title: AeTitle) -> Response:
    """Tell it of no further work items."""
    if workitem not in (EVERYTHING, FILTERED):
        raise Problem(400, "query-wrong", "Only a subscription to the worklist can be suspended.")
    with desk.store.database.begin() as db:
        found = subscriptions.suspend(db, ae_title)
    return _ended(request, found=found)


@router.websocket("/subscribers/{ae_title}")
async def channel(websocket: WebSocket, ae_title: AeTitle) -> None:
    """Event reports, each a text frame of DICOM JSON, until either side ends."""
    await anyio.to_thread.run_sync(lambda: note(websocket, "subscribe", detail="An event channel was opened."))
    await websocket.accept()
    why_closed = None
    async with anyio.create_task_group() as group:

        async def listen() -> None:
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass  # a subscriber has nothing to say here
            group.cancel_scope.cancel()

        async def watch() -> None:
            nonlocal why_closed
            while await anyio.to_thread.run_sync(_may_stay, websocket):
                await anyio.sleep(LOOK_EVERY_S)
            why_closed = _NOT_ALLOWED
            group.cancel_scope.cancel()

        group.start_soon(listen)
        group.start_soon(watch)
        try:
            await _send(websocket, desk_of(websocket), ae_title)
        except WebSocketDisconnect:
            group.cancel_scope.cancel()
        except SQLAlchemyError as fault:  # the subscriber comes again and misses nothing
            log.warning("An event channel ends", fault=type(fault).__name__)
            why_closed = _TRY_AGAIN_LATER
            group.cancel_scope.cancel()
    if why_closed is not None:
        with suppress(WebSocketDisconnect):
            await websocket.close(why_closed)


def _may_stay(websocket: WebSocket) -> bool:
    """Whether a person is still logged in and has the right; a program's token holds as long as this process."""
    visitor, desk = visitor_of(websocket), desk_of(websocket)
    if not visitor.account_id:
        return True
    try:
        with desk.store.database.look() as db:
            row = sessions.of_id(db, visitor.session_id, limits=limits_of(desk.settings.people))
    except SQLAlchemyError:  # the database is away for a moment
        return True
    return row is not None and Right.OPERATE in rights_of(known_roles(row["roles"]))


async def _send(websocket: WebSocket, desk: Desk, ae_title: str) -> None:
    def look() -> list[tuple[int, dict[str, object]]]:
        with desk.store.database.look() as db:
            return subscriptions.waiting(db, ae_title, after=last)

    def begin() -> int:
        with desk.store.database.look() as db:
            return subscriptions.heard(db, ae_title)

    def noted() -> None:
        with desk.store.database.begin() as db:
            subscriptions.note_heard(db, ae_title, last)

    last = await anyio.to_thread.run_sync(begin)
    while True:
        found = await anyio.to_thread.run_sync(look)
        for number, content in found:
            await websocket.send_text(json.dumps(content, ensure_ascii=False))
            last = number
        if found:
            await anyio.to_thread.run_sync(noted)
        else:
            await anyio.sleep(EVERY_S)


def _filter(request: Request) -> dict[str, str]:
    """Keys to match: as query parameters, or together in ``filter``. Raises Problem 400 for what cannot be matched."""
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] not in ("filter", "deletionlock")]
    for text in request.query_params.getlist("filter"):
        pairs += parse_qsl(text.replace(",", "&"))
    keys = {path_of(name): value_of(value) for name, value in pairs}
    if not keys or "" in keys:
        raise Problem(400, "query-wrong", "A filter has attributes to match, each with a value.")
    return keys


def _ended(request: Request, *, found: bool) -> Response:
    note(request, "subscribe", detail="Ended.", outcome="success" if found else "refused")
    return Response(status_code=200) if found else answer(404, "no-such-subscription", "There is no such subscription here.")
