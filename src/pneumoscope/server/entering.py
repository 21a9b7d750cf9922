"""Logging in and out: passwords that are tried, sessions that begin and end."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from fastapi import Request
from starlette.responses import Response

from pneumoscope.server.credentials import actor_of, limits_of
from pneumoscope.server.desk import Desk
from pneumoscope.server.journal import note, note_often, visitor_of
from pneumoscope.store import accounts, attempts, passwords, sessions

#: One address may be a whole hospital behind its proxy.
ADDRESS_FACTOR = 10


class TooManyTries(Exception):
    """Nothing was looked at: too many tries failed."""


def try_password(request: Request, desk: Desk, *, login: str, password: str) -> sa.RowMapping | None:
    """The account whose password it is, as it was when that was looked at. Raises TooManyTries.

    An account is locked for browsers that it was never used with: whoever types wrong passwords for others locks out
    nobody who has been here before.
    """
    with desk.store.database.look() as db:
        row = accounts.find(db, subject=login)
    kept = row["password_hash"] if row is not None and not row["disabled"] else ""
    browser = desk.jar.known(request, account_id=row["id"], secret=kept) if row is not None else ""
    address_key = attempts.key("address", visitor_of(request).address)
    own_key = attempts.key("browser", browser) if browser else attempts.account_key(login)
    limits = {own_key: desk.settings.people.tries}
    if not browser:
        limits[address_key] = ADDRESS_FACTOR * desk.settings.people.tries
    actor = actor_of(login=row["login"], issuer="") if row is not None else ""
    with desk.store.database.begin() as db:
        entered = attempts.enter(db, limits, pause=pause_of(desk))
    if not entered:
        note_often(request, "login", outcome="refused", detail="Too many wrong passwords; none was looked at.")
        raise TooManyTries
    if not passwords.fits(password, kept):
        _note_failure(request, desk, actor=actor, own_key=own_key)
        return None
    assert row is not None
    better = passwords.hashed(password) if passwords.is_outdated(kept) else ""
    with desk.store.database.begin() as db:
        attempts.forget(db, own_key)
        if not browser:
            attempts.take_back(db, address_key)
        if better and accounts.set_password(db, row["id"], better, must_change=row["must_change"], instead_of=kept):
            row = accounts.get(db, row["id"])
    return row


def _note_failure(request: Request, desk: Desk, *, actor: str, own_key: str) -> None:
    # what was typed as a name is not noted unless it is one: people type passwords there
    detail = "Wrong password, or a shut account." if actor else "No such account."
    note(request, "login", outcome="failed", detail=detail, actor=actor)
    with desk.store.database.look() as db:
        locked = attempts.is_locked(db, own_key, limit=desk.settings.people.tries, pause=pause_of(desk))
    if locked:
        detail = f"{desk.settings.people.tries} wrong passwords; locked for {desk.settings.people.pause_s:.0f} s."
        note(request, "lock-out", outcome="refused", detail=detail, actor=actor)


def check_own_password(request: Request, desk: Desk, row: sa.RowMapping, password: str) -> bool:
    """Whether someone who is logged in knows the password. Raises TooManyTries."""
    _, key = attempts.keys_of(row)
    with desk.store.database.begin() as db:
        if not attempts.enter(db, {key: desk.settings.people.tries}, pause=pause_of(desk)):
            raise TooManyTries
    if not passwords.fits(password, row["password_hash"]):
        note(request, "people", outcome="failed", detail="The password was not changed: the old one was wrong.")
        return False
    with desk.store.database.begin() as db:
        attempts.forget(db, key)
    return True


def enter(request: Request, desk: Desk, row: Mapping[Any, Any], response: Response) -> bool:
    """Begin a session of an account, in place of one that this browser may have.

    False, and there is none, where the password that ``row`` tells of was changed meanwhile, or the account was shut.
    """
    address, agent = visitor_of(request).address, request.headers.get("user-agent", "")
    limits = limits_of(desk.settings.people)
    with desk.store.database.begin() as db:
        kept = accounts.get(db, row["id"], to_act=True)
        if kept is None or kept["disabled"] or kept["password_hash"] != row["password_hash"]:
            return False
        if (old := desk.jar.session(request)) and (found := sessions.find(db, old, limits=limits)):
            sessions.end(db, found["session_id"], account_id=found["id"])
        token = sessions.begin(db, row["id"], address=address, agent=agent, limits=limits)
        accounts.note_login(db, row["id"])
        attempts.sweep(db, pause=pause_of(desk))
    desk.jar.put_session(request, response, token)
    if kept["password_hash"]:
        desk.jar.put_known(request, response, account_id=row["id"], secret=kept["password_hash"])
    return True


def pause_of(desk: Desk) -> timedelta:
    """How long who tried too often has to wait."""
    return timedelta(seconds=desk.settings.people.pause_s)
