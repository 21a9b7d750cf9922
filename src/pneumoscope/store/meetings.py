"""Studies that people read together: who began it, until when its link holds. What is said and drawn there is kept nowhere."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from pneumoscope.store import now
from pneumoscope.store.schema import meeting


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A new meeting. ``invite`` is what its link holds, kept nowhere; ``ended``: those of the same host that end with it."""

    id: str
    invite: str
    ended: Sequence[str]


def begin(db: sa.Connection, study: str, *, host: str, longest: timedelta) -> Begun:
    """Begin one. Each host has one at a time of a study: what was open of them ends."""
    mine = (meeting.c.host == host, meeting.c.StudyInstanceUID == study)
    earlier = db.execute(sa.select(meeting.c.id).where(*mine, *_is_open())).scalars().all()
    for meeting_id in earlier:
        end(db, meeting_id)
    begun = Begun(id=str(uuid.uuid4()), invite=secrets.token_urlsafe(24), ended=earlier)
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
    query = sa.select(meeting).where(meeting.c.id == meeting_id, meeting.c.invite_hash == _hash(invite), *_is_open())
    return db.execute(query).mappings().first()


def is_open(db: sa.Connection, meeting_id: str) -> bool:
    """Whether it is neither ended nor over."""
    return db.execute(sa.select(meeting.c.id).where(meeting.c.id == meeting_id, *_is_open())).first() is not None


def end(db: sa.Connection, meeting_id: str, *, host: str | None = None) -> str | None:
    """End one that is open, of ``host`` where given; its study, or None where there was none."""
    which = [meeting.c.id == meeting_id, *_is_open()]
    if host is not None:
        which.append(meeting.c.host == host)
    query = meeting.update().where(*which).values(ended_at=now()).returning(meeting.c.StudyInstanceUID)
    return db.execute(query).scalar()


def _is_open() -> tuple[sa.ColumnElement[bool], ...]:
    return meeting.c.ended_at.is_(None), meeting.c.expires_at > now()


def _hash(invite: str) -> str:
    """The invitation is random enough for a hash without salt or delay."""
    return hashlib.sha256(invite.encode()).hexdigest()
