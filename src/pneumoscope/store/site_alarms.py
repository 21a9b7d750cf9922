"""Alarms of the sites of a hub: those that sites tell of, and those that the hub finds itself."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pneumoscope.fleet.messages import Alarm, AlarmKind
from pneumoscope.store import now
from pneumoscope.store.fleet_schema import alarm
from pneumoscope.store.hub_schema import site

#: A window came again with other content than it had; found by the hub alone.
WINDOW_CHANGED = "window-changed"
#: A window begins before another ended; found by the hub alone.
WINDOW_OVERLAPS = "window-overlaps"
_NOT_TAKEN = (WINDOW_CHANGED, WINDOW_OVERLAPS)
OWN = (AlarmKind.SILENT.value, *_NOT_TAKEN)


def told(db: sa.Connection, reported: Mapping[str, Sequence[Alarm]]) -> None:
    """Begin and end alarms so that those open are the ``reported`` ones of each site; a site that speaks is not silent."""
    query = sa.select(alarm).where(alarm.c.site.in_(reported), alarm.c.ended_at.is_(None))
    held = {(row["site"], row["kind"], row["subject"]): row for row in db.execute(query).mappings()}
    new, moved, seen = [], [], set()
    for site_id, alarms in reported.items():
        for one in alarms:
            key = (site_id, one.kind.value, one.subject)
            values = {"value": one.value, "limit": one.limit}
            if key in seen or one.kind.value in OWN:
                continue
            seen.add(key)
            if key not in held:
                new.append({"site": site_id, "kind": key[1], "subject": key[2], "since": one.since, **values})
            elif (held[key]["value"], held[key]["limit"]) != (one.value, one.limit):
                moved.append({"id_": held[key]["id"], "value_": one.value, "limit_": one.limit})
    ended = [row["id"] for key, row in held.items() if key not in seen and key[1] not in _NOT_TAKEN]
    _write(db, new=new, moved=moved, ended=ended)


def _write(db: sa.Connection, *, new: list[dict[str, Any]], moved: list[dict[str, Any]], ended: list[int]) -> None:
    if new:
        db.execute(alarm.insert(), new)
    if moved:
        values: dict[str, Any] = {"value": sa.bindparam("value_"), "limit": sa.bindparam("limit_")}
        db.execute(alarm.update().where(alarm.c.id == sa.bindparam("id_")).values(values), moved)
    if ended:
        db.execute(alarm.update().where(alarm.c.id.in_(ended)).values(ended_at=now()))


def not_taken(db: sa.Connection, windows: Mapping[str, Iterable[tuple[str, datetime]]]) -> None:
    """Note windows that were not taken, by kind, each once."""
    for kind, site_id, start in ((kind, *window) for kind, some in windows.items() for window in some):
        same = sa.and_(alarm.c.site == site_id, alarm.c.kind == kind)
        subject = f"{start:%Y-%m-%d %H:%M}"
        if not db.execute(sa.select(alarm.c.id).where(same, alarm.c.subject == subject)).first():
            db.execute(alarm.insert().values(site=site_id, kind=kind, subject=subject, since=now()))


def silent(db: sa.Connection, *, since: datetime) -> list[str]:
    """Raise an alarm for sites that were not heard ``since``; titles of those that are new."""
    known = sa.exists().where(alarm.c.site == site.c.id, alarm.c.kind == AlarmKind.SILENT.value, alarm.c.ended_at.is_(None))
    last = sa.func.coalesce(site.c.heard_at, site.c.joined_at)
    query = sa.select(site.c.id, site.c.title, last.label("last")).where(
        site.c.joined_at.is_not(None), site.c.shut_at.is_(None), last < since, ~known
    )
    rows = list(db.execute(query))
    if rows:
        values = [{"site": row.id, "kind": AlarmKind.SILENT.value, "subject": "", "since": row.last} for row in rows]
        db.execute(alarm.insert(), values)
    return [row.title for row in rows]


def end_not_taken(db: sa.Connection, site_id: str) -> int:
    """A person has seen the windows that were not taken; how many."""
    open_ = sa.and_(alarm.c.site == site_id, alarm.c.kind.in_(_NOT_TAKEN), alarm.c.ended_at.is_(None))
    return db.execute(alarm.update().where(open_).values(ended_at=now())).rowcount


def of(db: sa.Connection, site_id: str, *, limit: int = 100) -> list[sa.RowMapping]:
    """Alarms of a site, open ones first, then the newest."""
    query = sa.select(alarm).where(alarm.c.site == site_id)
    query = query.order_by(alarm.c.ended_at.is_not(None), alarm.c.since.desc()).limit(limit)
    return list(db.execute(query).mappings())
