"""Closed windows of time that sites report: kept as they came first, with figures that pages add up."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pneumoscope.fleet.messages import Role, Window
from pneumoscope.fleet.totals import totals
from pneumoscope.store import now
from pneumoscope.store.hub_schema import province_day, site_window, window_total

#: Counts of ``province_day``.
COUNTED = tuple(column.name for column in province_day.c if column.name not in ("province", "day"))
#: Columns of ``window_total`` that are not told for every row.
FILLED = {
    column.name: 0
    for column in window_total.c
    if column.name not in ("site", "start", "number", "end", "day", "model", "role", "mode")
}


@dataclass(frozen=True, kw_only=True)
class Received:
    """Windows of one report."""

    site: str
    province: str
    windows: Sequence[Window]


@dataclass(kw_only=True)
class Kept:
    """Starts of windows that are kept, by site, and those that came again with other content."""

    kept: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    changed: list[tuple[str, datetime]] = field(default_factory=list)


def keep(db: sa.Connection, received: Iterable[Received]) -> Kept:
    """Keep windows once; what came first holds."""
    told = Kept()
    coming = {(one.site, window.start): (one, window) for one in received for window in reversed(one.windows)}
    if not coming:
        return told
    held = _held(db, coming)
    fresh = []
    for key, (one, window) in coming.items():
        told.kept[one.site].append(window.start)
        if key not in held:
            fresh.append((one, window))
        elif Window.model_validate_json(held[key]) != window:
            told.changed.append(key)
    if fresh:
        _add(db, fresh)
    return told


def _held(db: sa.Connection, keys: Iterable[tuple[str, datetime]]) -> dict[tuple[str, datetime], str]:
    sites, starts = {site for site, _ in keys}, {start for _, start in keys}
    query = sa.select(site_window.c.site, site_window.c.start, site_window.c.content)
    query = query.where(site_window.c.site.in_(sites), site_window.c.start.in_(starts))
    return {(row.site, row.start): row.content for row in db.execute(query)}


def _add(db: sa.Connection, fresh: Sequence[tuple[Received, Window]]) -> None:
    rows, flat = [], []
    sums: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0))
    moment = now()
    for one, window in fresh:
        day = window.start.astimezone(UTC).strftime("%Y-%m-%d")
        shared = {"site": one.site, "start": window.start, "end": window.end, "day": day}
        rows.append({**shared, "received_at": moment, "content": window.model_dump_json(exclude_defaults=True)})
        for total in totals(window):
            flat.append({**FILLED, **shared, **total})
            for name in COUNTED:  # those of a candidate are no study's results, but the first row holds the studies
                if total["role"] == Role.PRESENT or name.startswith("studies"):
                    sums[one.province, day][name] += total.get(name, 0)
    db.execute(site_window.insert(), rows)
    db.execute(window_total.insert(), flat)
    _add_up(db, [{"province": province, "day": day, **counts} for (province, day), counts in sorted(sums.items())])


def _add_up(db: sa.Connection, rows: list[dict[str, Any]]) -> None:
    insert: Any = (sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert)(province_day)
    more = {name: province_day.c[name] + insert.excluded[name] for name in COUNTED}
    db.execute(insert.on_conflict_do_update(index_elements=[province_day.c.province, province_day.c.day], set_=more), rows)
