"""The administrator's page of people: who may log in, and as what. Accounts are shut, never removed: the trail names them."""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from pneumoscope.server import entering
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.journal import note
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import RIGHTS, Right, Role, needs
from pneumoscope.store import accounts, attempts, passwords, sessions

router = APIRouter(prefix="/people", dependencies=[needs(Right.MANAGE)])
#: What people can be; monitors are programs.
ROLES = [role for role in Role if role is not Role.MONITOR]
Name = Annotated[str, Form(max_length=80)]
Roles = Annotated[list[Role], Form()]


@router.get("")
def show(request: Request, desk: AtDesk, done: str = "") -> Response:
    """Everyone."""
    return _show(request, desk, done=done)


@router.post("")
def add(request: Request, desk: AtDesk, login: Name = "", name: Name = "", roles: Roles = []) -> Response:  # noqa: B006
    """A new local account, whose first password is shown once."""
    if not accounts.LOGIN.fullmatch(login):
        return _show(request, desk, fault="login", status=400)
    if not roles:
        return _show(request, desk, fault="no-role", status=400)
    password = passwords.make()
    kept = passwords.hashed(password)
    with desk.store.database.begin() as db:
        added = accounts.add(db, login=login, name=" ".join(name.split()), roles=roles, password_hash=kept)
    if added is None:
        return _show(request, desk, fault="taken", status=409)
    note(request, "people", detail=f"{login} was added: {_words(roles)}.")
    return _show(request, desk, first=(login, password))


@router.post("/{account_id}/roles")
def set_roles(request: Request, desk: AtDesk, account_id: str, roles: Roles = []) -> Response:  # noqa: B006
    """Other roles."""
    with desk.store.database.begin() as db:
        row = _local(db, account_id)
        _keep_an_administrator(db, row, stays=Role.ADMINISTRATOR in roles)
        accounts.set_roles(db, account_id, roles)
    note(request, "people", detail=f"{row['login']} is now: {_words(roles)}.")
    return RedirectResponse("/people?done=roles", 303)


@router.post("/{account_id}/reset")
def reset(request: Request, desk: AtDesk, account_id: str) -> Response:
    """Another first password, shown once; all sessions end, and what was locked is not."""
    password = passwords.make()
    kept = passwords.hashed(password)
    with desk.store.database.begin() as db:
        row = _local(db, account_id)
        accounts.set_password(db, account_id, kept, must_change=True)
        sessions.end_all(db, account_id)
        attempts.forget(db, *attempts.keys_of(row))
    note(request, "people", detail=f"{row['login']} was given a new first password.")
    return _show(request, desk, first=(row["login"], password))


@router.post("/{account_id}/unlock")
def unlock(request: Request, desk: AtDesk, account_id: str) -> Response:
    """Forget wrong passwords."""
    with desk.store.database.begin() as db:
        row = _local(db, account_id)
        attempts.forget(db, *attempts.keys_of(row))
    note(request, "people", detail=f"{row['login']} was unlocked.")
    return RedirectResponse("/people?done=unlocked", 303)


@router.post("/{account_id}/shut")
def shut(request: Request, desk: AtDesk, account_id: str) -> Response:
    """Let someone in no more; sessions end at once."""
    with desk.store.database.begin() as db:
        row = _any(db, account_id)
        _keep_an_administrator(db, row, stays=False)
        accounts.set_disabled(db, account_id, True)
    note(request, "people", detail=f"{row['login']} was shut out.")
    return RedirectResponse("/people?done=shut", 303)


@router.post("/{account_id}/open")
def open_again(request: Request, desk: AtDesk, account_id: str) -> Response:
    """Let someone in again."""
    with desk.store.database.begin() as db:
        row = _any(db, account_id)
        accounts.set_disabled(db, account_id, False)
    note(request, "people", detail=f"{row['login']} was let in again.")
    return RedirectResponse("/people?done=open", 303)


def _any(db: sa.Connection, account_id: str) -> sa.RowMapping:
    row = accounts.get(db, account_id)
    if row is None:
        raise Problem(404, "no-such-account", "There is no such account.")
    return row


def _local(db: sa.Connection, account_id: str) -> sa.RowMapping:
    row = _any(db, account_id)
    if row["issuer"]:
        raise Problem(409, "account-elsewhere", "Roles and password of this account are its provider's.")
    return row


def _keep_an_administrator(db: sa.Connection, row: sa.RowMapping, *, stays: bool) -> None:
    holders = accounts.holders(db, Role.ADMINISTRATOR)
    if not stays and holders == {row["id"]}:
        raise Problem(409, "last-administrator", "Someone must remain who may manage people.")


def _words(roles: list[Role]) -> str:
    return ", ".join(sorted(set(roles))) or "nothing"


def _show(request: Request, desk: Desk, *, status: int = 200, **told: Any) -> Response:  # noqa: ANN401 - what a template takes
    tries, pause = desk.settings.people.tries, entering.pause_of(desk)
    with desk.store.database.look() as db:
        everyone = accounts.everyone(db)
        locked = {
            row["id"]
            for row in everyone
            if not row["issuer"] and attempts.is_locked(db, attempts.account_key(row["login"]), limit=tries, pause=pause)
        }
    shown = {"done": "", "fault": "", "first": None} | told
    rights = {role: sorted(RIGHTS[role]) for role in ROLES}
    return page(request, "people.html", status=status, everyone=everyone, locked=locked, roles=rights, **shown)
