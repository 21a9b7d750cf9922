"""Figures of a fleet for pages and exports: sums by day, province and site, made in the database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pneumoscope.fleet.messages import Role
from pneumoscope.fleet.shares import Share, Span
from pneumoscope.store.fleet_schema import alarm
from pneumoscope.store.hub_schema import province_day, site, site_window, window_total
from pneumoscope.store.windows import COUNTED

#: Counts, each of a column with its name and one with ``_most``.
NAMES = tuple(name for name in COUNTED if f"{name}_most" in COUNTED)
_LIKELY = tuple(name.removesuffix("_likely") for name in COUNTED if name.endswith("_likely"))
_MEMBER = sa.and_(site.c.joined_at.is_not(None), site.c.shut_at.is_(None))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Sums of windows, by the names of the columns."""

    spans: Mapping[str, Span]
    likely: Mapping[str, int]
    untold: int = 0  # windows of which nothing is known

    def __getattr__(self, name: str) -> Span:
        """A sum."""
        try:
            return self.__dict__["spans"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def positive(self) -> Share:
        """Studies with signs of COVID-19 pneumonia, of those that were read."""
        return Share(hits=self.sign, n=self.read, likely=self.likely["sign"])

    @property
    def heavy(self) -> Share:
        """Studies with at least a quarter of the lung involved, of those that were read."""
        return Share(hits=self.involved, n=self.read, likely=self.likely["involved"])

    @property
    def agreement(self) -> Share:
        """Answers that agree."""
        return Share(hits=self.agreed, n=self.answers, likely=self.likely["agreed"])


def _figures(row: sa.RowMapping) -> Figures:
    spans = {name: Span(least=row[name], most=row[f"{name}_most"]) for name in NAMES}
    return Figures(spans=spans, likely={name: row[f"{name}_likely"] for name in _LIKELY}, untold=row["untold"])


def _sums(table: sa.Table, names: Iterable[str] = COUNTED) -> list[sa.Label[int]]:
    return [sa.func.coalesce(sa.func.sum(table.c[name]), 0).label(name) for name in names]


def by_day(db: sa.Connection, *, since: str, province: str = "") -> dict[str, Figures]:
    """Sums of each day from ``since`` on (YYYY-MM-DD), of all or one province."""
    query = sa.select(province_day.c.day, *_sums(province_day)).where(province_day.c.day >= since)
    if province:
        query = query.where(province_day.c.province == province)
    rows = db.execute(query.group_by(province_day.c.day).order_by(province_day.c.day)).mappings()
    return {row["day"]: _figures(row) for row in rows}


def by_province(db: sa.Connection, *, since: str) -> dict[str, Figures]:
    """Sums of each province from ``since`` on."""
    query = sa.select(province_day.c.province, *_sums(province_day)).where(province_day.c.day >= since)
    return {row["province"]: _figures(row) for row in db.execute(query.group_by(province_day.c.province)).mappings()}


def by_site(db: sa.Connection, *, since: str, sites: Iterable[str] | None = None) -> dict[str, Figures]:
    """Sums of each site from ``since`` on; of ``sites``, or all that have windows."""
    return {row["site"]: _figures(row) for row in db.execute(_by_site(since, sites)).mappings()}


def _by_site(since: str, sites: Iterable[str] | None = None, names: Iterable[str] = COUNTED) -> sa.Select[Any]:
    query = sa.select(window_total.c.site, *_sums(window_total, names))
    query = query.where(window_total.c.day >= since, window_total.c.role == Role.PRESENT.value)
    if sites is not None:
        query = query.where(window_total.c.site.in_(list(sites)))
    return query.group_by(window_total.c.site)


def of_site_by_day(db: sa.Connection, site_id: str, *, since: str) -> dict[str, Figures]:
    """Sums of each day of a site."""
    query = sa.select(window_total.c.day, *_sums(window_total)).where(window_total.c.site == site_id)
    query = query.where(window_total.c.day >= since, window_total.c.role == Role.PRESENT.value)
    rows = db.execute(query.group_by(window_total.c.day).order_by(window_total.c.day)).mappings()
    return {row["day"]: _figures(row) for row in rows}


def by_site_and_day(db: sa.Connection, *, since: str) -> Iterable[sa.RowMapping]:
    """A row for each site, day, model and mode, with title and province; counts as they are kept."""
    keys = (site.c.province, site.c.title, window_total.c.day, window_total.c.model, window_total.c.role, window_total.c.mode)
    query = sa.select(*keys, *_sums(window_total)).join(site, site.c.id == window_total.c.site)
    return db.execute(query.where(window_total.c.day >= since).group_by(*keys).order_by(*keys)).mappings()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which sites a page shows, and in what order; ``order`` is one of ``ORDERS``."""

    order: str = "title"
    down: bool = False
    province: str = ""
    text: str = ""
    trouble: bool = False
    offset: int = 0
    limit: int = 50


_STATED = {
    "title": site.c.title,
    "province": site.c.province,
    "heard": site.c.heard_at,
    "waiting": site.c.waiting,
    "model": site.c.model,
    "mode": site.c.mode,
}
_SHARES = {"positive": ("sign", "read"), "heavy": ("involved", "read"), "agreement": ("agreed", "answers")}
ORDERS = (*_STATED, "studies", *_SHARES, "alarms")


def sites(db: sa.Connection, asked: Asked, *, since: str) -> tuple[int, list[sa.RowMapping]]:
    """How many sites there are, and the rows of a page of them."""
    wanted = [_MEMBER]
    if asked.province:
        wanted.append(site.c.province == asked.province)
    if asked.text:
        wanted.append(site.c.title.icontains(asked.text, autoescape=True))
    if asked.trouble:
        wanted.append(_in_trouble())
    query = sa.select(site).where(*wanted)
    number = db.execute(sa.select(sa.func.count()).select_from(site).where(*wanted)).scalar_one()
    if asked.order in _STATED:
        key: sa.ColumnElement[Any] = _STATED[asked.order]
    elif asked.order == "alarms":
        raised = sa.select(alarm.c.site, sa.func.count().label("number")).where(alarm.c.ended_at.is_(None))
        open_ = raised.group_by(alarm.c.site).subquery()
        query, key = query.outerjoin(open_, open_.c.site == site.c.id), sa.func.coalesce(open_.c.number, 0)
    else:
        sums = _by_site(since, names=_summed(asked.order)).subquery()  # of all sites: no more columns than must be
        query = query.outerjoin(sums, sums.c.site == site.c.id)
        key = _figure(sums, asked.order)
    query = query.order_by(key.is_(None), key.desc() if asked.down else key, site.c.title)
    return number, list(db.execute(query.offset(asked.offset).limit(asked.limit)).mappings())


def _summed(order: str) -> tuple[str, ...]:
    if order not in _SHARES:
        return ("studies", "studies_most")
    hits, of = _SHARES[order]
    return f"{hits}_likely", of, f"{of}_most"


def _figure(sums: sa.Subquery, order: str) -> sa.ColumnElement[Any]:
    if order not in _SHARES:
        return sums.c.studies + sums.c.studies_most
    hits, of = _SHARES[order]
    whole = sums.c[of] + sums.c[f"{of}_most"]
    return 2.0 * sums.c[f"{hits}_likely"] / sa.func.nullif(whole, 0)


def _in_trouble() -> sa.ColumnElement[bool]:
    alarmed = sa.select(alarm.c.site).where(alarm.c.ended_at.is_(None), alarm.c.site != "")
    return sa.or_(site.c.id.in_(alarmed), site.c.ready.is_(False), site.c.mode == "stopped")


def open_alarms(db: sa.Connection, sites: Sequence[str]) -> dict[str, list[sa.RowMapping]]:
    """Alarms of sites that have not ended, by site."""
    query = sa.select(alarm).where(alarm.c.site.in_(sites), alarm.c.ended_at.is_(None)).order_by(alarm.c.since)
    found: dict[str, list[sa.RowMapping]] = {}
    for row in db.execute(query).mappings():
        found.setdefault(row["site"], []).append(row)
    return found


@dataclass(frozen=True, kw_only=True)
class Census:
    """Sites of a province, or of all."""

    joined: int
    heard: int  # lately
    live: int
    troubled: int


def census(db: sa.Connection, *, heard_since: datetime) -> dict[str, Census]:
    """How sites are, by province."""

    def number(condition: sa.ColumnElement[bool]) -> "sa.ColumnElement[int]":
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    columns = (
        sa.func.count().label("joined"),
        number(site.c.heard_at >= heard_since).label("heard"),
        number(site.c.mode == "live").label("live"),
        number(_in_trouble()).label("troubled"),
    )
    rows = db.execute(sa.select(site.c.province, *columns).where(_MEMBER).group_by(site.c.province)).mappings()
    return {
        row["province"]: Census(joined=row["joined"], heard=row["heard"], live=row["live"], troubled=row["troubled"])
        for row in rows
    }


def waiting(db: sa.Connection) -> Span:
    """Studies that wait in all hospitals, as they said last."""
    hidden = sa.func.coalesce(sa.func.sum(sa.case((site.c.waiting.is_(None), 1), else_=0)), 0)
    query = sa.select(sa.func.coalesce(sa.func.sum(site.c.waiting), 0), hidden).where(_MEMBER, site.c.heard_at.is_not(None))
    known, unknown = db.execute(query).one()
    return Span(least=known + unknown, most=known + 4 * unknown)


def invited(db: sa.Connection) -> list[sa.RowMapping]:
    """Sites that have not joined yet, or are shut out."""
    query = sa.select(site).where(sa.or_(site.c.joined_at.is_(None), site.c.shut_at.is_not(None))).order_by(site.c.title)
    return list(db.execute(query).mappings())


def windows(db: sa.Connection, site_id: str, *, limit: int = 60) -> list[str]:
    """Contents of the last windows of a site, the newest first."""
    query = sa.select(site_window.c.content).where(site_window.c.site == site_id)
    return list(db.execute(query.order_by(site_window.c.start.desc()).limit(limit)).scalars())
