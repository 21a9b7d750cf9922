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
    """Windows of one report. ``until``: where those that are held end, None where there are none."""

    site: str
    province: str
    until: datetime | None
    windows: Sequence[Window]


@dataclass(kw_only=True)
class Kept:
    """Starts of windows that need not be sent again, by site; and of those, what was not taken.

    ``changed``: came again with other content. ``overlapping``: begin before another ended, so that a study would count twice.
    ``until``: where each site's windows end now.
    """

    kept: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    changed: list[tuple[str, datetime]] = field(default_factory=list)
    overlapping: list[tuple[str, datetime]] = field(default_factory=list)
    until: dict[str, datetime] = field(default_factory=dict)


def keep(db: sa.Connection, received: Iterable[Received]) -> Kept:
    """Keep windows once, each site's one after the other; what came first holds."""
    told = Kept()
    coming = {(one.site, window.start): (one, window) for one in received for window in reversed(one.windows)}
    if not coming:
        return told
    held, until = _held(db, coming), {one.site: one.until for one, _ in coming.values()}
    fresh = []
    for key in sorted(coming):
        one, window = coming[key]
        told.kept[one.site].append(window.start)
        last = until[one.site]
        if key in held:
            if Window.model_validate_json(held[key]) != window:
                told.changed.append(key)
        elif last is not None and window.start < last:
            told.overlapping.append(key)
        else:
            fresh.append((one, window))
            until[one.site] = told.until[one.site] = window.end
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
