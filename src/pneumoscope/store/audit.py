"""Who did what, when, from where; only ever added to."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pneumoscope.store import now
from pneumoscope.store.schema import audit, mark


def record(  # noqa: PLR0913 - each is a column
    db: sa.Connection,
    *,
    action: str,
    outcome: str = "success",
    actor: str = "",
    address: str = "",
    StudyInstanceUID: str = "",
    detail: str = "",
) -> None:
    """Add an entry. ``detail`` is a sentence without patient data; ``outcome``: success, refused or failed."""
    db.execute(
        audit.insert().values(
            at=now(),
            actor=actor,
            address=address,
            action=action,
            outcome=outcome,
            StudyInstanceUID=StudyInstanceUID,
            detail=detail,
        )
    )


def forward(db: sa.Connection, name: str, *, limit: int = 200) -> list[sa.RowMapping]:
    """Entries that the reader ``name`` has not had yet; they count as had when the transaction is committed."""
    query = sa.select(mark.c.value).where(mark.c.name == name).with_for_update()
    value = db.execute(query).scalar()
    if value is None:
        db.execute(mark.insert().values(name=name, value=0))
    found = entries(db, after_id=value or 0, limit=limit)
    if found:
        db.execute(mark.update().where(mark.c.name == name).values(value=found[-1]["id"]))
    return found


def latest(db: sa.Connection, action: str, *, since: datetime) -> str | None:
    """Detail of the last entry of an ``action``, where there is one ``since`` then."""
    query = sa.select(audit.c.detail).where(audit.c.action == action, audit.c.at > since)
    return db.execute(query.order_by(audit.c.id.desc()).limit(1)).scalar()


def entries(db: sa.Connection, *, after_id: int = 0, limit: int = 1000) -> list[sa.RowMapping]:
    """Entries in the order they were made."""
    query = sa.select(audit).where(audit.c.id > after_id).order_by(audit.c.id).limit(limit)
    return list(db.execute(query).mappings())


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is looked for in the trail; what is empty does not matter."""

    actor: str = ""  # or a part of it, whatever the case
    StudyInstanceUID: str = ""
    action: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before_id: int = 0


def search(db: sa.Connection, asked: Asked, *, limit: int) -> list[sa.RowMapping]:
    """Entries that fit, the newest first."""
    query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
    if asked.actor:
        query = query.where(audit.c.actor.icontains(asked.actor, autoescape=True))
    for column in (audit.c.StudyInstanceUID, audit.c.action, audit.c.outcome):
        if value := getattr(asked, column.name):
            query = query.where(column == value)
    if asked.since:
        query = query.where(audit.c.at >= asked.since)
    if asked.until:
        query = query.where(audit.c.at < asked.until)
    if asked.before_id:
        query = query.where(audit.c.id < asked.before_id)
    return list(db.execute(query).mappings())


def actions(db: sa.Connection) -> list[str]:
    """Everything that was ever done here."""
    return list(db.execute(sa.select(audit.c.action).distinct().order_by(audit.c.action)).scalars())
