"""Models that a hub wants in service nowhere: who said so, why, and how far the sites have come."""

import uuid
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from pneumoscope.errors import Rejected
from pneumoscope.fleet.messages import Mode, Stop
from pneumoscope.store import now
from pneumoscope.store.hub_schema import offer, site, stop

#: Characters of a reason.
LONGEST = 400


class Heed(StrEnum):
    """What a site that has, or tries, a stopped model said last; those that need a person first."""

    SERVES = "serves"  # was told, and has it in service: its people decide, or have resumed it
    UNHEARD = "unheard"  # has it in service, and has not reported since
    SHADOW = "shadow"  # reads with it, and shows nothing
    TRIES = "tries"  # as a candidate
    STOPPED = "stopped"


def add(db: sa.Connection, model: str, *, actor: str, reason: str) -> str:
    """Want a model stopped everywhere; the id of the stop. Raises Rejected."""
    said = " ".join(reason.split())[:LONGEST]
    if not said:
        raise Rejected("No reason was given; readers are told why a model is out of service.", code="service-reason")
    if of_model(db, model) is not None:
        raise Rejected(f"{model} is to be stopped already; one stop of a model stands at a time.", code="stop-stands")
    if model not in stoppable(db):
        raise Rejected(f"No site has told of a model {model!r}, and none is offered by that name.", code="stop-model")
    stop_id = str(uuid.uuid4())
    db.execute(stop.insert().values(id=stop_id, model=model, reason=said, actor=actor, at=now()))
    return stop_id


def stoppable(db: sa.Connection) -> list[str]:
    """Models that sites told of or that are offered, and that are not stopped."""
    known = sa.union(sa.select(site.c.model), sa.select(site.c.candidate), sa.select(offer.c.model))
    stopped = {row["model"] for row in standing(db)}
    return sorted(set(db.execute(known).scalars()) - stopped - {""})


def lift(db: sa.Connection, stop_id: str, *, actor: str) -> None:
    """Ask no more; what sites have stopped stays stopped until two people of each resume it."""
    db.execute(stop.update().where(stop.c.id == stop_id, stop.c.lifted_at.is_(None)).values(lifted_at=now(), lifted_by=actor))


def get(db: sa.Connection, stop_id: str) -> sa.RowMapping | None:
    """A stop."""
    return db.execute(sa.select(stop).where(stop.c.id == stop_id)).mappings().first()


def of_model(db: sa.Connection, model: str) -> sa.RowMapping | None:
    """The stop of a model that stands."""
    return db.execute(sa.select(stop).where(stop.c.model == model, stop.c.lifted_at.is_(None))).mappings().first()


def everything(db: sa.Connection) -> list[sa.RowMapping]:
    """All stops, those that stand first, then the newest."""
    return list(db.execute(sa.select(stop).order_by(stop.c.lifted_at.is_not(None), stop.c.at.desc())).mappings())


def standing(db: sa.Connection) -> list[sa.RowMapping]:
    """Those that stand, the newest first."""
    return [row for row in everything(db) if row["lifted_at"] is None]


def told(db: sa.Connection) -> tuple[Stop, ...]:
    """Those that stand, as every site hears of them."""
    return tuple(Stop(id=row["id"], model=row["model"], reason=row["reason"]) for row in standing(db)[:100])


def _heeds(model: str, since: datetime) -> sa.ColumnElement[str]:
    return sa.case(
        (site.c.model != model, Heed.TRIES.value),
        (site.c.mode == Mode.STOPPED, Heed.STOPPED.value),
        (site.c.mode == Mode.SHADOW, Heed.SHADOW.value),
        (site.c.heard_at > since, Heed.SERVES.value),
        else_=Heed.UNHEARD.value,
    )


def _of(row: sa.RowMapping) -> sa.Select[tuple[object, ...]]:
    here = sa.or_(site.c.model == row["model"], site.c.candidate == row["model"])
    member = sa.and_(site.c.joined_at.is_not(None), site.c.shut_at.is_(None))
    return sa.select(site, _heeds(row["model"], row["at"]).label("heed")).where(here, member)


def counts(db: sa.Connection, row: sa.RowMapping) -> dict[Heed, int]:
    """How many sites stand how, of those that have the model or try it."""
    sites = _of(row).subquery()
    query = sa.select(sites.c.heed, sa.func.count()).group_by(sites.c.heed)
    found = {heed: number for heed, number in db.execute(query)}  # noqa: C416 - of rows
    return {heed: found.get(heed, 0) for heed in Heed}


def sites_of(db: sa.Connection, row: sa.RowMapping, *, limit: int, offset: int = 0) -> list[sa.RowMapping]:
    """Sites that have the model or try it, with ``heed``: those that show its readings still first."""
    sites = _of(row).subquery()
    order = sa.case({heed.value: place for place, heed in enumerate(Heed)}, value=sites.c.heed)
    query = sa.select(sites).order_by(order, sites.c.title).limit(limit).offset(offset)
    return list(db.execute(query).mappings())
