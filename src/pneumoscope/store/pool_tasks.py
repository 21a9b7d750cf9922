"""The hub's side of reading for another hospital: it matches sites that agreed, and carries what they sealed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pneumoscope.fleet.pool_messages import Assigned, Neighbour, Open, Outcome, Pool, PoolOrders, Progress, Sealed, Task
from pneumoscope.store import audit, now
from pneumoscope.store.hub_schema import site
from pneumoscope.store.pool_schema import pool_consent, pool_task

#: A taker is told for so long what became of a task.
TOLD_FOR = timedelta(days=7)
#: What is over goes after so long; the trail has it.
KEPT_FOR = timedelta(days=30)
_OVER = tuple(outcome.value for outcome in Outcome)
ACTION = "pool"


def exchange(db: sa.Connection, said: Mapping[str, Pool]) -> dict[str, PoolOrders]:
    """Keep what sites say of tasks, by site, and answer each. Whoever calls has seen to it that they are who they are."""
    for caller, pool in said.items():
        _agree(db, caller, pool)
        _offer(db, caller, pool)
    for caller, pool in said.items():
        for take in pool.takes:
            _take(db, caller, take.id, take.certificate)
    return {caller: _answer(db, caller, pool) for caller, pool in said.items()}


def _agree(db: sa.Connection, caller: str, pool: Pool) -> None:
    """A site's agreements as they are now; its own row says that it shares readings at all."""
    wanted = {caller, *pool.partners}
    mine = pool_consent.c.site == caller
    held = set(db.execute(sa.select(pool_consent.c.partner).where(mine)).scalars())
    if gone := held - wanted:
        db.execute(pool_consent.delete().where(mine, pool_consent.c.partner.in_(gone)))
    for partner in sorted(wanted - held):
        db.execute(pool_consent.insert().values(site=caller, partner=partner, at=now()))


def _offer(db: sa.Connection, caller: str, pool: Pool) -> None:
    mine = pool_task.c.owner == caller
    db.execute(pool_task.delete().where(mine, pool_task.c.state.in_(_OVER), pool_task.c.changed_at < now() - KEPT_FOR))
    standing = sa.select(pool_task).where(mine, pool_task.c.state.not_in(_OVER))
    rows = {row["id"]: row for row in db.execute(standing).mappings()}
    for task in pool.offers:
        if task.id in rows or db.execute(sa.select(pool_task.c.id).where(pool_task.c.id == task.id)).first():
            continue
        values = {"urgency": task.urgency.value, "images": task.images.value, "until": task.until}
        db.execute(pool_task.insert().values(id=task.id, owner=caller, state="open", changed_at=now(), **values))
    for sealed in pool.invitations:
        row = rows.get(sealed.id)
        if row is not None and row["state"] == "taken":
            _set(db, sealed.id, state="invited", sealed=sealed.model_dump(mode="json"))
    outcomes = {ended.id: ended.outcome.value for ended in pool.ended}
    offered = {task.id for task in pool.offers}
    for task_id in rows:
        if task_id not in offered:  # what an owner offers no more is not to be had
            _set(db, task_id, state=outcomes.get(task_id, Outcome.WITHDRAWN.value), sealed=None)
            _note(db, task_id, f"Ended: {outcomes.get(task_id, Outcome.WITHDRAWN.value)}.", caller)


def _take(db: sa.Connection, caller: str, task_id: str, certificate: str) -> None:
    """The first who may have it gets it."""
    row = db.execute(sa.select(pool_task).where(pool_task.c.id == task_id)).mappings().first()
    if row is None or row["owner"] == caller or row["owner"] not in _friends(db, caller) or row["until"] <= now():
        return
    free = sa.and_(pool_task.c.id == task_id, pool_task.c.state == "open")
    values = {"state": "taken", "taker": caller, "certificate": certificate, "changed_at": now()}
    if db.execute(pool_task.update().where(free).values(**values)).rowcount:
        _note(db, task_id, "Taken.", caller)


def _friends(db: sa.Connection, caller: str) -> set[str]:
    """Sites that agreed with this one, and this one with them."""
    back = pool_consent.alias("back")
    query = (
        sa.select(pool_consent.c.partner)
        .join(back, sa.and_(back.c.site == pool_consent.c.partner, back.c.partner == pool_consent.c.site))
        .where(pool_consent.c.site == caller, pool_consent.c.partner != caller)
    )
    return set(db.execute(query).scalars())


def _answer(db: sa.Connection, caller: str, pool: Pool) -> PoolOrders:
    sharing = sa.select(site.c.id, site.c.title).join(pool_consent, pool_consent.c.site == site.c.id)
    sharing = sharing.where(pool_consent.c.partner == pool_consent.c.site, site.c.shut_at.is_(None), site.c.id != caller)
    neighbours = db.execute(sharing.order_by(site.c.title)).all()
    agreeing = set(db.execute(sa.select(pool_consent.c.site).where(pool_consent.c.partner == caller)).scalars())
    friends, moment = _friends(db, caller) & {one.id for one in neighbours}, now()
    tasks = [dict(row) for row in db.execute(_of(caller, friends, moment)).mappings()]
    mine = {row["id"]: row for row in tasks if row["taker"] == caller}
    asked = [Progress(id=take.id, lost=True) for take in pool.takes if take.id not in mine]
    return PoolOrders(
        neighbours=tuple(Neighbour(site=one.id, title=one.title, agrees=one.id in agreeing) for one in neighbours),
        open=tuple(
            Open(owner=row["owner"], task=_task(row)) for row in tasks if row["state"] == "open" and row["owner"] in friends
        ),
        assigned=tuple(
            Assigned(id=row["id"], taker=row["taker"], certificate=row["certificate"])
            for row in tasks
            if row["owner"] == caller and row["state"] == "taken"
        ),
        progress=(*(_progress(row) for row in mine.values()), *asked),
    )


def _of(caller: str, friends: set[str], moment: datetime) -> sa.Select[Any]:
    """Tasks that matter to a site."""
    to_have = sa.and_(pool_task.c.state == "open", pool_task.c.owner.in_(friends), pool_task.c.until > moment)
    taken = sa.and_(pool_task.c.taker == caller, pool_task.c.changed_at > moment - TOLD_FOR)
    given = sa.and_(pool_task.c.owner == caller, pool_task.c.state == "taken")
    return sa.select(pool_task).where(sa.or_(to_have, taken, given)).order_by(pool_task.c.until, pool_task.c.id).limit(500)


def _task(row: dict[str, Any]) -> Task:
    return Task.model_validate({key: row[key] for key in ("id", "urgency", "images", "until")})


def _progress(row: dict[str, Any]) -> Progress:
    outcome = Outcome(row["state"]) if row["state"] in _OVER else None
    return Progress(id=row["id"], outcome=outcome, invitation=Sealed.model_validate(row["sealed"]) if row["sealed"] else None)


def _set(db: sa.Connection, task_id: str, **values: object) -> None:
    db.execute(pool_task.update().where(pool_task.c.id == task_id).values(changed_at=now(), **values))


def _note(db: sa.Connection, task_id: str, told: str, caller: str) -> None:
    audit.record(db, action=ACTION, actor=f"site {caller}", detail=f"Task {task_id}: {told}")
