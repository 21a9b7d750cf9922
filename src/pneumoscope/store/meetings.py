"""Studies that people read together: who began it, until when its link holds. What is said and drawn there is kept nowhere."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from pneumoscope.store import now
from pneumoscope.store.people_schema import meeting


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A new meeting. ``invite`` is what its link holds, kept nowhere; ``ended``: those of the same host that end with it."""

    id: str
    invite: str
    ended: Sequence[str]


def begin(db: sa.Connection, study: str, *, host: str, longest: timedelta) -> Begun:
    """Begin one. Each host has one at a time of a study: what was open of them ends."""
    db.execute(meeting.delete().where(meeting.c.expires_at <= now()))
    mine = meeting.delete().where(meeting.c.host == host, meeting.c.StudyInstanceUID == study)
    ended = db.execute(mine.returning(meeting.c.id)).scalars().all()
    begun = Begun(id=str(uuid.uuid4()), invite=secrets.token_urlsafe(24), ended=ended)
    moment = now()
    db.execute(
        meeting.insert().values(
            id=begun.id,
            StudyInstanceUID=study,
            invite_hash=_hash(begun.invite),
            host=host,
            created_at=moment,
            expires_at=moment + longest,
        )
    )
    return begun


def find(db: sa.Connection, meeting_id: str, *, invite: str) -> sa.RowMapping | None:
    """The meeting that a link leads to, while it is open."""
    query = sa.select(meeting).where(meeting.c.invite_hash == _hash(invite), *_is_open(meeting_id))
    return db.execute(query).mappings().first()


def is_open(db: sa.Connection, meeting_id: str) -> bool:
    """Whether it is neither ended nor over."""
    return db.execute(sa.select(meeting.c.id).where(*_is_open(meeting_id))).first() is not None


def end(db: sa.Connection, meeting_id: str, *, host: str) -> str | None:
    """End an open one of ``host``; its study, or None where there was none."""
    ended = meeting.delete().where(meeting.c.host == host, *_is_open(meeting_id))
    return db.execute(ended.returning(meeting.c.StudyInstanceUID)).scalar()


def _is_open(meeting_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return meeting.c.id == meeting_id, meeting.c.expires_at > now()


def _hash(invite: str) -> str:
    """The invitation is random enough for a hash without salt or delay."""
    return hashlib.sha256(invite.encode()).hexdigest()
