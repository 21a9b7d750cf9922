"""Alarms of this site: what its own watch found and has not gone away."""

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from pneumoscope.fleet.messages import Alarm, AlarmKind
from pneumoscope.store import now
from pneumoscope.store.fleet_schema import alarm

_OURS = alarm.c.site == ""


def standing(db: sa.Connection) -> list[Alarm]:
    """Those that have not ended, the oldest first."""
    query = sa.select(alarm).where(_OURS, alarm.c.ended_at.is_(None)).order_by(alarm.c.since, alarm.c.id)
    columns = ("kind", "subject", "since", "value", "limit")
    return [Alarm(**{name: row[name] for name in columns}) for row in db.execute(query).mappings()]


def settle(db: sa.Connection, found: Iterable[Alarm], *, of: Collection[AlarmKind], now_gone: bool = True) -> list[Alarm]:
    """Begin those of ``found`` that are new, and return them; end others of these kinds, unless ``now_gone`` is False."""
    query = sa.select(alarm).where(_OURS, alarm.c.ended_at.is_(None), alarm.c.kind.in_([kind.value for kind in of]))
    held = {(row["kind"], row["subject"]): row for row in db.execute(query).mappings()}
    told = {(one.kind.value, one.subject): one for one in found}
    for (kind, subject), one in told.items():
        values = {"value": one.value, "limit": one.limit}
        row = held.get((kind, subject))
        if row is None:
            db.execute(alarm.insert().values(site="", kind=kind, subject=subject, since=one.since, **values))
        elif (row["value"], row["limit"]) != (one.value, one.limit):
            db.execute(alarm.update().where(alarm.c.id == row["id"]).values(**values))
    ended = [row["id"] for key, row in held.items() if key not in told] if now_gone else []
    if ended:
        db.execute(alarm.update().where(alarm.c.id.in_(ended)).values(ended_at=now()))
    return [one for key, one in told.items() if key not in held]
