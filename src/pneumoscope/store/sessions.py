"""Browsers that someone has logged in with. Their tokens are kept as hashes: who reads the database cannot act as anyone."""

import hashlib
import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pneumoscope.store import now
from pneumoscope.store.people_schema import account, session

#: That a session is in use is written down at most this often.
SEEN_EVERY = timedelta(seconds=60)
_LONGEST_AGENT = 200


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a session lasts without a request, and at most."""

    idle: timedelta
    longest: timedelta


def begin(db: sa.Connection, account_id: str, *, address: str, agent: str, limits: Limits) -> str:
    """A new session; returns its token, which is kept nowhere. Those that are over go."""
    db.execute(session.delete().where(_is_over(limits)))
    token, moment = secrets.token_urlsafe(32), now()
    db.execute(
        session.insert().values(
            id=str(uuid.uuid4()),
            token_hash=_hash(token),
            account_id=account_id,
            address=address,
            agent=agent[:_LONGEST_AGENT],
            created_at=moment,
            seen_at=moment,
        )
    )
    return token


def find(db: sa.Connection, token: str, *, limits: Limits) -> sa.RowMapping | None:
    """The session of a token with its account, where it holds: ``session_id``, ``seen_at``, and the account's columns."""
    return db.execute(_held(session.c.token_hash == _hash(token), limits)).mappings().first()


def of_id(db: sa.Connection, session_id: str, *, limits: Limits) -> sa.RowMapping | None:
    """The same of a session that is known, where it still holds."""
    return db.execute(_held(session.c.id == session_id, limits)).mappings().first()


def roles_of(db: sa.Connection, ids: Collection[str], *, limits: Limits) -> dict[str, list[str]]:
    """Roles of the accounts of those of these sessions that still hold, by session."""
    return {row["session_id"]: row["roles"] for row in db.execute(_held(session.c.id.in_(ids), limits)).mappings()}


def touch(db: sa.Connection, session_id: str) -> None:
    """It is in use."""
    db.execute(session.update().where(session.c.id == session_id).values(seen_at=now()))


def is_stale(seen_at: datetime) -> bool:
    """Whether its use should be written down again."""
    return now() - seen_at > SEEN_EVERY


def of(db: sa.Connection, account_id: str, *, limits: Limits) -> list[sa.RowMapping]:
    """An account's sessions, the last used first."""
    query = sa.select(session).where(session.c.account_id == account_id, ~_is_over(limits)).order_by(session.c.seen_at.desc())
    return list(db.execute(query).mappings())


def end(db: sa.Connection, session_id: str, *, account_id: str) -> bool:
    """End one of an account's sessions; whether there was one."""
    return bool(db.execute(session.delete().where(session.c.id == session_id, session.c.account_id == account_id)).rowcount)


def end_all(db: sa.Connection, account_id: str) -> None:
    """Log out everywhere."""
    db.execute(session.delete().where(session.c.account_id == account_id))


def _held(which: sa.ColumnElement[bool], limits: Limits) -> sa.Select[Any]:
    query = sa.select(session.c.id.label("session_id"), session.c.seen_at, account).join_from(session, account)
    return query.where(which, ~_is_over(limits), ~account.c.disabled)


def _is_over(limits: Limits) -> sa.ColumnElement[bool]:
    moment = now()
    return sa.or_(session.c.seen_at < moment - limits.idle, session.c.created_at < moment - limits.longest)


def _hash(token: str) -> str:
    """The token is random enough for a hash without salt or delay."""
    return hashlib.sha256(token.encode()).hexdigest()
