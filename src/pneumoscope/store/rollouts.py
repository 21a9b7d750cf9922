"""Models on offer, and their way through the fleet; which way that is, is decided in ``hub/moving.py``."""

import uuid
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from pneumoscope.errors import Rejected
from pneumoscope.fleet.messages import AlarmKind, Mode, Offer, Role, Wish, WishKind, WishState
from pneumoscope.store import now
from pneumoscope.store.fleet_schema import alarm
from pneumoscope.store.hub_schema import offer, rollout, rollout_act, rollout_site, site, stop, window_total


class State(StrEnum):
    """Life of a roll-out."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    BACK = "back"


class Phase(StrEnum):
    """What a stage of a roll-out does."""

    SHADOW = "shadow"
    LIVE = "live"


def add_offer(db: sa.Connection, *, one: Offer, device_uid: str, key: str, signer: str) -> bool:
    """Offer a bundle; False where it is offered already. Raises Rejected where another one bears its name and version."""
    held = db.execute(sa.select(offer.c.sha256).where(offer.c.model == one.model)).scalar()
    if held == one.sha256:
        return False
    if held is not None:
        raise Rejected(f"Another bundle is offered as {one.model} already; give this one another version.", code="offer-taken")
    values = {"device_uid": device_uid, "key": key, "signer": signer, "offered_at": now()}
    db.execute(offer.insert().values(sha256=one.sha256, model=one.model, size_bytes=one.size_bytes, **values))
    return True


def find_offer(db: sa.Connection, *, model: str = "", sha256: str = "") -> sa.RowMapping | None:
    """An offer by model or by digest."""
    query = sa.select(offer).where(offer.c.model == model if model else offer.c.sha256 == sha256)
    return db.execute(query).mappings().first()


def offers(db: sa.Connection) -> list[sa.RowMapping]:
    """All offers, the newest first."""
    return list(db.execute(sa.select(offer).order_by(offer.c.offered_at.desc())).mappings())


def begin(db: sa.Connection, *, offered: sa.RowMapping, stages: Sequence[Sequence[str]], shares: Sequence[float]) -> str:
    """A new roll-out in its first stage, whose sites are asked to run the model in shadow. Raises Rejected."""
    active = db.execute(sa.select(rollout.c.model).where(rollout.c.state.in_((State.RUNNING, State.PAUSED)))).scalar()
    if active:
        raise Rejected(f"The roll-out of {active} is not over; one goes at a time.", code="rollout-active")
    rollout_id, moment = str(uuid.uuid4()), now()
    db.execute(
        rollout.insert().values(
            id=rollout_id,
            sha256=offered["sha256"],
            model=offered["model"],
            state=State.RUNNING,
            shares=list(shares),
            stage=0,
            phase=Phase.SHADOW,
            phase_since=moment,
            evidence_since=moment,
            started_at=moment,
            changed_at=moment,
        )
    )
    rows = [{"rollout": rollout_id, "site": one, "stage": stage} for stage, sites in enumerate(stages) for one in sites]
    db.execute(rollout_site.insert(), rows)
    wish_stage(db, rollout_id, 0, WishKind.SHADOW)
    return rollout_id


def get(db: sa.Connection, rollout_id: str) -> sa.RowMapping | None:
    """A roll-out."""
    return db.execute(sa.select(rollout).where(rollout.c.id == rollout_id)).mappings().first()


def everything(db: sa.Connection) -> list[sa.RowMapping]:
    """All roll-outs, the newest first."""
    return list(db.execute(sa.select(rollout).order_by(rollout.c.started_at.desc())).mappings())


def change(db: sa.Connection, rollout_id: str, **values: object) -> None:
    """Another state, stage or phase."""
    db.execute(rollout.update().where(rollout.c.id == rollout_id).values(changed_at=now(), **values))


def note(db: sa.Connection, row: sa.RowMapping, *, actor: str, act: str, reason: str = "", stage: int | None = None) -> None:
    """Keep who did what, and why."""
    at = row["stage"] if stage is None else stage
    db.execute(rollout_act.insert().values(rollout=row["id"], at=now(), actor=actor, act=act, stage=at, reason=reason))


def acts(db: sa.Connection, rollout_id: str) -> list[sa.RowMapping]:
    """What was done, the newest first."""
    query = sa.select(rollout_act).where(rollout_act.c.rollout == rollout_id).order_by(rollout_act.c.id.desc())
    return list(db.execute(query).mappings())


def wish_stage(db: sa.Connection, rollout_id: str, stage: int, kind: WishKind) -> None:
    """Want something of the sites of a stage, but not of those that a person took out."""
    here = sa.and_(rollout_site.c.rollout == rollout_id, rollout_site.c.stage == stage, ~rollout_site.c.out)
    db.execute(rollout_site.update().where(here).values(wish=kind, wish_since=now()))


def wish_back(db: sa.Connection, rollout_id: str, *, stage: int | None = None) -> int:
    """Have sites go back that were asked for something: those of a stage, or all; how many."""
    asked = [rollout_site.c.rollout == rollout_id, rollout_site.c.wish.not_in(("", WishKind.BACK))]
    if stage is not None:
        asked.append(rollout_site.c.stage == stage)
    values = {"wish": WishKind.BACK, "wish_since": now()}
    return db.execute(rollout_site.update().where(*asked).values(values)).rowcount


def went_back(db: sa.Connection, row: sa.RowMapping) -> bool:
    """Whether sites of the present stage were taken back by its gate."""
    here = [rollout_site.c.rollout == row["id"], rollout_site.c.stage == row["stage"], ~rollout_site.c.out]
    return (
        db.execute(sa.select(rollout_site.c.site).where(*here, rollout_site.c.wish == WishKind.BACK).limit(1)).first()
        is not None
    )


def take_out(db: sa.Connection, rollout_id: str, site_id: str) -> bool:
    """Have one site go back where it was asked for something, and ask it no more; False where it is not in the roll-out."""
    here = sa.and_(rollout_site.c.rollout == rollout_id, rollout_site.c.site == site_id)
    asked = sa.case((rollout_site.c.wish == "", ""), else_=WishKind.BACK.value)
    return db.execute(rollout_site.update().where(here).values(wish=asked, wish_since=now(), out=True)).rowcount == 1


def of_site(db: sa.Connection, site_id: str) -> list[sa.RowMapping]:
    """What roll-outs want of a site and what it said, the newest first."""
    query = sa.select(rollout_site, rollout.c.model, rollout.c.state).join(rollout, rollout.c.id == rollout_site.c.rollout)
    return list(db.execute(query.where(rollout_site.c.site == site_id).order_by(rollout.c.started_at.desc())).mappings())


#: Answers in the order in which a person wants to see them.
_URGENCY = {"refused": 0, "waits": 1, "fetching": 2, "": 3}


def sites_of(db: sa.Connection, rollout_id: str, *, limit: int, offset: int = 0) -> list[sa.RowMapping]:
    """Sites of a roll-out with titles: those that were asked and are not there yet first."""
    columns = (site.c.title, site.c.province, site.c.heard_at, site.c.shut_at)
    query = sa.select(rollout_site, *columns).join(site, site.c.id == rollout_site.c.site)
    urgency = sa.case(_URGENCY, value=rollout_site.c.told, else_=4)
    order = (rollout_site.c.wish == "", urgency, rollout_site.c.stage, site.c.title)
    query = query.where(rollout_site.c.rollout == rollout_id).order_by(*order).limit(limit).offset(offset)
    return list(db.execute(query).mappings())


def add_late(db: sa.Connection, rollout_id: str, *, stage: int, wish: WishKind | None) -> int:
    """Put sites that joined after a roll-out began into its last stage; how many."""
    inside = sa.exists().where(rollout_site.c.rollout == rollout_id, rollout_site.c.site == site.c.id)
    query = sa.select(site.c.id).where(site.c.joined_at.is_not(None), site.c.shut_at.is_(None), ~inside)
    found = list(db.execute(query).scalars())
    if found:
        values = {"rollout": rollout_id, "stage": stage, "wish": wish or "", "wish_since": now() if wish else None}
        db.execute(rollout_site.insert(), [{**values, "site": one} for one in found])
    return len(found)


def answered(db: sa.Connection, site_ids: Iterable[str], told: dict[str, WishState]) -> dict[str, Wish]:
    """Keep what sites say of roll-outs, and what each is wished to do, by site."""
    stopped = sa.exists().where(stop.c.model == rollout.c.model, stop.c.lifted_at.is_(None)).label("stopped")
    query = (
        sa.select(rollout_site, rollout.c.state, rollout.c.model, offer.c.sha256, offer.c.size_bytes, stopped)
        .join(rollout, rollout.c.id == rollout_site.c.rollout)
        .join(offer, offer.c.sha256 == rollout.c.sha256)
        .where(rollout_site.c.site.in_(list(site_ids)))
        .order_by(rollout.c.started_at)
    )
    wishes, heard = {}, []
    for row in db.execute(query).mappings():
        said = told.get(row["site"])
        if said and said.rollout == row["rollout"] and (said.stage.value, said.code) != (row["told"], row["code"]):
            heard.append({"r": row["rollout"], "s": row["site"], "told": said.stage.value, "code": said.code, "told_at": now()})
        if row["wish"]:
            wishes[row["site"]] = _wish(row)
    if heard:
        here = sa.and_(rollout_site.c.rollout == sa.bindparam("r"), rollout_site.c.site == sa.bindparam("s"))
        values: dict[str, Any] = {name: sa.bindparam(name) for name in ("told", "code", "told_at")}
        db.execute(rollout_site.update().where(here).values(values), heard)
    return wishes


def evidence(db: sa.Connection, row: sa.RowMapping) -> sa.RowMapping:
    """Sums of the present stage's windows in its phase, by columns of ``window_total``, of the sites that take part."""
    live = row["phase"] == Phase.LIVE
    inside = sa.and_(
        rollout_site.c.site == window_total.c.site,
        rollout_site.c.rollout == row["id"],
        rollout_site.c.stage == row["stage"],
        rollout_site.c.wish.not_in(("", WishKind.BACK)),
    )
    names = ("read", "failed", "pairs", "same", "answers", "agreed")
    columns = [window_total.c[name + end] for name in names for end in ("", "_most")]
    summed = [*columns, window_total.c.difference_sum, window_total.c.differences]
    wanted = [
        window_total.c.model == row["model"],
        window_total.c.role == (Role.PRESENT if live else Role.CANDIDATE),
        window_total.c.end > row["evidence_since"],
    ]
    if live:
        wanted.append(window_total.c.mode == Mode.LIVE)
    sums = [sa.func.coalesce(sa.func.sum(column), 0).label(column.name) for column in summed]
    return db.execute(sa.select(*sums).select_from(window_total).join(rollout_site, inside).where(*wanted)).mappings().one()


def alarmed(db: sa.Connection, row: sa.RowMapping, kinds: Iterable[AlarmKind]) -> int:
    """Sites of the present stage with alarms that began in its phase; in shadow only those that name the model count."""
    inside = sa.and_(
        rollout_site.c.site == alarm.c.site,
        rollout_site.c.rollout == row["id"],
        rollout_site.c.stage == row["stage"],
        rollout_site.c.wish.not_in(("", WishKind.BACK)),
    )
    wanted = [alarm.c.kind.in_([kind.value for kind in kinds]), alarm.c.since >= row["phase_since"]]
    if row["phase"] == Phase.SHADOW:
        wanted.append(alarm.c.subject == row["model"])
    query = sa.select(sa.func.count(sa.distinct(alarm.c.site))).select_from(alarm).join(rollout_site, inside).where(*wanted)
    return db.execute(query).scalar_one()


def progress(db: sa.Connection, rollout_id: str) -> dict[tuple[int, str, str], int]:
    """How many sites there are of each stage, wish and answer; those shut out count nowhere."""
    columns = (rollout_site.c.stage, rollout_site.c.wish, rollout_site.c.told)
    query = sa.select(*columns, sa.func.count()).join(site, site.c.id == rollout_site.c.site)
    query = query.where(rollout_site.c.rollout == rollout_id, site.c.shut_at.is_(None)).group_by(*columns)
    return {(stage, wish, told): number for stage, wish, told, number in db.execute(query)}


def _wish(row: sa.RowMapping) -> Wish:
    kind = WishKind(row["wish"])
    shown = kind in (WishKind.SHADOW, WishKind.LIVE)
    offered = Offer(model=row["model"], sha256=row["sha256"], size_bytes=row["size_bytes"]) if shown else None
    return Wish(
        rollout=row["rollout"], kind=kind, offer=offered, paused=shown and (row["stopped"] or row["state"] == State.PAUSED)
    )
