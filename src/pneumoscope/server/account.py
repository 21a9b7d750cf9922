"""One's own account: the password, and where one is logged in."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from pneumoscope.server import entering
from pneumoscope.server.access import ACCOUNT
from pneumoscope.server.credentials import limits_of
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import accounts, passwords, sessions

router = APIRouter(prefix=ACCOUNT, dependencies=[needs(Right.ACCOUNT)])
Typed = Annotated[str, Form(max_length=1000)]


@router.get("")
def show(request: Request, desk: AtDesk, done: str = "") -> Response:
    """The account and its sessions."""
    return _show(request, desk, done=done)


@router.post("/password")
def change_password(request: Request, desk: AtDesk, old: Typed = "", new: Typed = "", again: Typed = "") -> Response:
    """Another password: all other sessions end, and this one gets another token."""
    row = _own(request, desk)
    fault = _fault(request, desk, row, (old, new, again))
    if fault:
        return _show(request, desk, fault=fault, status=429 if fault == "locked" else 400)
    kept = passwords.hashed(new)
    with desk.store.database.begin() as db:
        changed = accounts.set_password(db, row["id"], kept, instead_of=row["password_hash"])
        if changed:
            sessions.end_all(db, row["id"])
    if not changed:  # by someone else, while the old one was looked at
        return _show(request, desk, fault="wrong", status=400)
    response = RedirectResponse(f"{ACCOUNT}?done=password", 303)
    entering.enter(request, desk, {**row, "password_hash": kept}, response)
    note(request, "people", detail="The password was changed by its owner.")
    return response


@router.post("/sessions/{session_id}/end")
def end_session(request: Request, desk: AtDesk, session_id: str) -> Response:
    """Log out one browser."""
    visitor = visitor_of(request)
    with desk.store.database.begin() as db:
        ended = sessions.end(db, session_id, account_id=visitor.account_id)
    if ended:
        note(request, "logout", detail="Another session was ended.")
    return RedirectResponse(ACCOUNT if session_id != visitor.session_id else "/login?out=here", 303)


@router.post("/sessions/end")
def end_all(request: Request, desk: AtDesk) -> Response:
    """Log out everywhere."""
    with desk.store.database.begin() as db:
        sessions.end_all(db, visitor_of(request).account_id)
    note(request, "logout", detail="Everywhere.")
    response = RedirectResponse("/login?out=here", 303)
    desk.jar.drop_session(request, response)
    return response


def _own(request: Request, desk: Desk) -> sa.RowMapping:
    with desk.store.database.look() as db:
        row = accounts.get(db, visitor_of(request).account_id)
    assert row is not None  # accounts are shut, never removed
    return row


def _fault(request: Request, desk: Desk, row: sa.RowMapping, typed: tuple[str, str, str]) -> str:
    old, new, again = typed
    if row["issuer"]:
        return "elsewhere"
    if new != again:
        return "differ"
    if new == old:
        return "same"
    if fault := passwords.fault(new, login=row["login"]):
        return fault
    try:
        return "" if entering.check_own_password(request, desk, row, old) else "wrong"
    except entering.TooManyTries:
        return "locked"


def _show(request: Request, desk: Desk, *, done: str = "", fault: str = "", status: int = 200) -> Response:
    row = _own(request, desk)
    with desk.store.database.look() as db:
        own = sessions.of(db, row["id"], limits=limits_of(desk.settings.people))
    shown = {"account": row, "sessions": own, "done": done, "fault": fault, "shortest": passwords.SHORTEST}
    return page(request, "account.html", status=status, **shown)
