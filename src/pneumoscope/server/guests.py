"""Guests: a reader of another hospital, who comes by a link with a secret, sees one study, and gives one answer."""

import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import parse_qsl

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import Message, Send

from pneumoscope.fleet.pool_messages import Outcome
from pneumoscope.server import forgery
from pneumoscope.server.cookies import Jar
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.journal import visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right
from pneumoscope.server.visitor import Visitor
from pneumoscope.store import Store, attempts, pool
from pneumoscope.store.pool import Who
from pneumoscope.store.schema import reading

ENTRANCE = "/guest/"
#: Wrong links from one address before it has to wait, and how long.
TRIES, PAUSE = 20, timedelta(minutes=15)
_GRANTED = frozenset({Right.OPEN, Right.JUDGE})
_OF_READING = re.compile(r"/readings/([0-9a-f-]{36})/([A-Za-z0-9._-]+)")
_ROOT, _UID = "/dicom-web/studies", "StudyInstanceUID"
router = APIRouter()


class Guests:
    """Finds who comes with a guest's cookie. Anywhere but at their study they have no right at all."""

    def __init__(self, store: Store, jar: Jar) -> None:
        self._store, self._jar = store, jar

    def find(self, connection: HTTPConnection, address: str) -> Visitor | None:
        """Looks into the database, with each request: a right that has ended ends at once."""
        token = self._jar.guest(connection)
        if not token:
            return None
        with self._store.database.look() as db:
            row = pool.guest(db, token)
            if row is None:
                return None
            allowed = _may(db, connection, row[_UID])
        return Visitor(
            actor=pool.guest_name(row),
            address=address,
            session_id=row["id"],
            csrf=forgery.token_of(token),
            guest=row["id"],
            granted=_GRANTED if allowed else frozenset(),
        )


def _may(db: sa.Connection, connection: HTTPConnection, study: str) -> bool:
    """Whether a request is for what a guest of ``study`` may see or do: a list, and what is not on it is refused."""
    scope = connection.scope
    if scope["type"] != "http":
        return False
    path, method = scope["path"], scope["method"]
    looks = method in ("GET", "HEAD")
    if found := _OF_READING.fullmatch(path):
        query = sa.select(reading.c.id).where(reading.c.id == found[1], reading.c.StudyInstanceUID == study)
        answers = method == "POST" and found[2] == "review"
        return (looks or answers) and db.execute(query).first() is not None
    if method == "POST":
        return bool(path == f"/studies/{study}/verdict")
    asked = parse_qsl(connection.url.query, keep_blank_values=True)
    if path.startswith("/viewer/"):
        return looks and [value for name, value in asked if name.lower() == "studyinstanceuids"] == [study]
    if path == _ROOT:  # exactly one way of saying it: one that the search does not know would not narrow it
        told = [(name, value) for name, value in asked if name.lower() in (_UID.lower(), "0020000d")]
        return looks and told in ([(_UID, study)], [("0020000D", study)])
    pages = (f"/studies/{study}", f"/studies/{study}/mark", f"{_ROOT}/{study}")
    return looks and (path in pages or path.startswith(f"{_ROOT}/{study}/"))


def unkept(send: Send) -> Send:
    """Whatever an answer to a guest says of it, no copy stays in the browser: it is another hospital's, and the right ends."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Cache-Control"] = "no-store"
        await send(message)

    return send_on


def answered(db: sa.Connection, visitor: Visitor) -> None:
    """A guest's one answer ends their right, in its transaction. Raises Problem where another was quicker."""
    if not visitor.guest:
        return
    if not pool.end(db, visitor.guest, Outcome.ANSWERED, who=Who(actor=visitor.actor, address=visitor.address)):
        raise Problem(404, "no-such-study", "There is no such study here.")


def farewell(visitor: Visitor) -> str:
    """Where a guest goes who has answered."""
    return f"{ENTRANCE}{visitor.guest}/done"


@router.get("/guest/{offer_id}")
def welcome(request: Request, offer_id: str, secret: str = "") -> Response:
    """What a link opens; nothing is told before the guest goes on, so that programs that look at links use up nothing."""
    return page(request, "guest.html", offer_id=offer_id, secret=secret, state="welcome")


@router.post("/guest/{offer_id}")
def enter(request: Request, desk: AtDesk, offer_id: str, secret: Annotated[str, Form(max_length=100)] = "") -> Response:
    """Go on, to the study."""
    address = visitor_of(request).address
    tries = attempts.key("guest", address)
    with desk.store.database.begin() as db:
        if not attempts.enter(db, {tries: TRIES}, pause=PAUSE):  # else whoever likes would fill the trail
            wait = {"Retry-After": f"{PAUSE.total_seconds():.0f}"}
            raise Problem(429, "too-many-tries", "Too many wrong links came from this address; wait a while.", headers=wait)
        token = pool.enter(db, offer_id, secret, address=address)
        row = pool.guest(db, token) if token else None
        if row is not None:
            attempts.take_back(db, tries)
    if token is None or row is None:
        return page(request, "guest.html", status=404, offer_id="", secret="", state="over")
    response = RedirectResponse(f"/studies/{row[_UID]}", 303)
    desk.jar.put_guest(request, response, token)
    return response


@router.get("/guest/{offer_id}/done")
def done(request: Request) -> Response:
    """After the answer."""
    return page(request, "guest.html", offer_id="", secret="", state="done")
