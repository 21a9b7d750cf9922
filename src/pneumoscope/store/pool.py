"""A node's side of reading for another hospital: partners, its own studies on offer with the guests' rights, tasks taken.

Everything is in the audit trail in the same transaction.
"""

import hashlib
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from pneumoscope.errors import Rejected
from pneumoscope.fleet.pool_messages import (
    Amount,
    Assigned,
    Ended,
    Open,
    Outcome,
    Pool,
    PoolOrders,
    Sealed,
    Take,
    Task,
    Urgency,
)
from pneumoscope.store import audit, now
from pneumoscope.store.pool_schema import pool_offer, pool_partner, pool_take
from pneumoscope.store.schema import StudyState, image, review, study

ACTION = "pool"
#: The hub hears for so long how an offer ended.
_TOLD_FOR = timedelta(days=7)
LIVE = ("open", "invited", "opened")
_WANTED = ("asked", "invited", "opened")


@dataclass(frozen=True, kw_only=True)
class Who:
    """Who acts, for the trail."""

    actor: str
    address: str = ""


NODE = Who(actor="this node")


def _note(db: sa.Connection, who: Who, detail: str, *, StudyInstanceUID: str = "") -> None:
    audit.record(db, action=ACTION, actor=who.actor, address=who.address, StudyInstanceUID=StudyInstanceUID, detail=detail)


def partners(db: sa.Connection) -> list[sa.RowMapping]:
    """Hospitals that this one's administrators agreed with."""
    return list(db.execute(sa.select(pool_partner).order_by(pool_partner.c.title)).mappings())


def agree(db: sa.Connection, site: str, *, title: str, who: Who) -> None:
    """Their readers may read our studies on offer, and ours theirs, once they agree too."""
    if db.execute(sa.select(pool_partner.c.site).where(pool_partner.c.site == site)).first() is None:
        db.execute(pool_partner.insert().values(site=site, title=title, actor=who.actor, agreed_at=now()))
        _note(db, who, f"Agreed to read for and with {title}.")


def part(db: sa.Connection, site: str, *, who: Who) -> None:
    """End an agreement; guests of that hospital lose their rights at once."""
    gone = db.execute(pool_partner.delete().where(pool_partner.c.site == site).returning(pool_partner.c.title)).scalar()
    if gone is None:
        return
    _note(db, who, f"Ended the agreement with {gone}.")
    taken = (pool_offer.c.taker == site, pool_offer.c.state.in_(LIVE))
    for offer_id in db.execute(sa.select(pool_offer.c.id).where(*taken)).scalars().all():
        end(db, offer_id, Outcome.WITHDRAWN, who=who)


def amount_of(images: int) -> Amount:
    """Roughly."""
    return Amount.FEW if images < 100 else Amount.SOME if images <= 400 else Amount.MANY


def offer(db: sa.Connection, uid: str, *, urgency: Urgency, images: int, longest: timedelta, who: Who) -> str:
    """Offer a study; its id there, that of the offer that stands where there is one. Raises Rejected for no such study."""
    # the row is locked: two who offer at once make one offer
    if db.execute(sa.select(study.c.StudyInstanceUID).where(study.c.StudyInstanceUID == uid).with_for_update()).first() is None:
        raise Rejected("There is no such study here.", code="no-such-study")
    standing = of_study(db, uid)
    if standing is not None and standing["state"] in LIVE:
        return str(standing["id"])
    offer_id = str(uuid.uuid4())
    values = {"urgency": urgency.value, "images": amount_of(images).value, "created_at": now(), "until": now() + longest}
    db.execute(pool_offer.insert().values(id=offer_id, StudyInstanceUID=uid, actor=who.actor, state="open", **values))
    _note(db, who, f"Offered to other hospitals as task {offer_id}.", StudyInstanceUID=uid)
    return offer_id


def of_study(db: sa.Connection, uid: str) -> sa.RowMapping | None:
    """The last offer of a study."""
    query = sa.select(pool_offer).where(pool_offer.c.StudyInstanceUID == uid).order_by(pool_offer.c.created_at.desc())
    return db.execute(query.limit(1)).mappings().first()


class Unanswered(NamedTuple):
    """A study that was read, and that nobody has answered or offered."""

    StudyInstanceUID: str
    images: int


def unanswered(db: sa.Connection) -> list[Unanswered]:
    """The oldest first."""
    answered = sa.exists().where(review.c.StudyInstanceUID == study.c.StudyInstanceUID)
    offered = sa.exists().where(pool_offer.c.StudyInstanceUID == study.c.StudyInstanceUID)
    number = sa.select(sa.func.count()).where(image.c.StudyInstanceUID == study.c.StudyInstanceUID).scalar_subquery()
    query = sa.select(study.c.StudyInstanceUID, number.label("images")).where(study.c.state == StudyState.READ)
    rows = db.execute(query.where(~answered, ~offered).order_by(study.c.last_image_at).limit(1000))
    return [Unanswered(row.StudyInstanceUID, row.images) for row in rows]


def end(db: sa.Connection, offer_id: str, outcome: Outcome, *, who: Who) -> bool:
    """End an offer and the guest's right with it; whether it stood."""
    row = db.execute(
        pool_offer.update()
        .where(pool_offer.c.id == offer_id, pool_offer.c.state.in_(LIVE))
        .values(state=outcome.value, ended_at=now(), secret_hash="", session_hash="", sealed=None)
        .returning(pool_offer.c.StudyInstanceUID)
    ).scalar()
    if row is None:
        return False
    _note(db, who, f"Task {offer_id} ended: {outcome.value}.", StudyInstanceUID=row)
    return True


def expire(db: sa.Connection) -> None:
    """End what is over by time."""
    late = (pool_offer.c.until <= now(), pool_offer.c.state.in_(LIVE))
    for offer_id in db.execute(sa.select(pool_offer.c.id).where(*late)).scalars().all():
        end(db, offer_id, Outcome.EXPIRED, who=NODE)


def told(db: sa.Connection, certificate: str) -> Pool:
    """What the hub is told; ``certificate``: ours, for invitations to be sealed to."""
    live = db.execute(sa.select(pool_offer).where(pool_offer.c.state.in_(LIVE)).limit(200)).mappings().all()
    over = (pool_offer.c.state.not_in(LIVE), pool_offer.c.ended_at > now() - _TOLD_FOR)
    ended = db.execute(sa.select(pool_offer).where(*over).order_by(pool_offer.c.ended_at.desc()).limit(500)).mappings()
    asked = db.execute(sa.select(pool_take.c.id).where(pool_take.c.state == "asked").limit(50)).scalars()
    return Pool(
        partners=tuple(row["site"] for row in partners(db)),
        offers=tuple(Task.model_validate({key: row[key] for key in ("id", "urgency", "images", "until")}) for row in live),
        takes=tuple(Take(id=task_id, certificate=certificate) for task_id in asked),
        invitations=tuple(Sealed.model_validate(row["sealed"]) for row in live if row["sealed"]),
        ended=tuple(Ended(id=row["id"], outcome=Outcome(row["state"])) for row in ended),
    )


def invite(db: sa.Connection, assigned: Assigned, seal: Callable[[str], Sealed]) -> None:
    """Another hospital took a study: give one guest of it the right to it. ``seal``: of the link's secret."""
    row = db.execute(sa.select(pool_offer).where(pool_offer.c.id == assigned.id)).mappings().first()
    partner = db.execute(sa.select(pool_partner).where(pool_partner.c.site == assigned.taker)).mappings().first()
    if row is None or row["state"] != "open" or partner is None:
        return
    secret = secrets.token_urlsafe(32)
    sealed = seal(secret).model_dump(mode="json")
    values = {"state": "invited", "taker": assigned.taker, "taker_title": partner["title"], "secret_hash": _hash(secret)}
    db.execute(pool_offer.update().where(pool_offer.c.id == assigned.id).values(sealed=sealed, **values))
    _note(db, NODE, f"Task {assigned.id} was taken by {partner['title']}.", StudyInstanceUID=row["StudyInstanceUID"])


def enter(db: sa.Connection, offer_id: str, secret: str, *, address: str) -> str | None:
    """A guest comes by the link: a token for their browser, in place of any before; None where it does not hold."""
    row = _standing(db, sa.and_(pool_offer.c.id == offer_id, pool_offer.c.secret_hash == _hash(secret)))
    if row is None:
        _refuse(db, offer_id, address=address)
        return None
    token = secrets.token_urlsafe(32)
    db.execute(pool_offer.update().where(pool_offer.c.id == offer_id).values(session_hash=_hash(token), state="opened"))
    who = Who(actor=guest_name(row), address=address)
    again = " again: who opened it before sees the study no more" if row["state"] == "opened" else ""
    _note(db, who, f"Task {offer_id} was opened by its link{again}.", StudyInstanceUID=row["StudyInstanceUID"])
    return token


def _refuse(db: sa.Connection, offer_id: str, *, address: str) -> None:
    """Note a link that does not hold. Nothing of what a stranger sent is kept but the name of a task that was offered here."""
    row = db.execute(sa.select(pool_offer).where(pool_offer.c.id == offer_id)).mappings().first()
    if row is None:
        detail = "A link of a task that was never offered here was refused."
    elif row["state"] not in LIVE or row["until"] <= now():
        outcome = row["state"] if row["state"] not in LIVE else Outcome.EXPIRED
        detail = f"The link of task {offer_id}, which is over ({outcome}), was refused."
    elif row["state"] == "open":
        detail = f"A link of task {offer_id}, which nobody was invited to, was refused."
    else:
        detail = f"A wrong link of task {offer_id} was refused."
    study = row["StudyInstanceUID"] if row else ""
    audit.record(db, action=ACTION, outcome="refused", address=address, StudyInstanceUID=study, detail=detail)


def guest(db: sa.Connection, token: str) -> sa.RowMapping | None:
    """The offer whose guest has this token, while the right holds."""
    return _standing(db, pool_offer.c.session_hash == _hash(token)) if token else None


def guest_name(row: sa.RowMapping) -> str:
    """What the trail and answers call a guest."""
    return f"reader ({row['taker_title']})"


def _standing(db: sa.Connection, which: sa.ColumnElement[bool]) -> sa.RowMapping | None:
    holds = (pool_offer.c.state.in_(("invited", "opened")), pool_offer.c.until > now())
    return db.execute(sa.select(pool_offer).where(which, *holds)).mappings().first()


def take(db: sa.Connection, found: Open, *, title: str, who: Who) -> None:
    """Wish to read a study of another hospital."""
    task = found.task
    if db.execute(sa.select(pool_take.c.id).where(pool_take.c.id == task.id)).first() is not None:
        raise Rejected("This task was taken here before.", code="pool-taken")
    values = {"urgency": task.urgency.value, "images": task.images.value, "until": task.until, "owner_title": title}
    values |= {"actor": who.actor, "taken_at": now(), "state": "asked"}
    db.execute(pool_take.insert().values(id=task.id, owner=found.owner, **values))
    _note(db, who, f"Asked to read task {task.id} of {title}.")


def takes(db: sa.Connection) -> list[sa.RowMapping]:
    """Tasks of others that were taken here, the last first."""
    return list(db.execute(sa.select(pool_take).order_by(pool_take.c.taken_at.desc()).limit(100)).mappings())


def open_take(db: sa.Connection, task_id: str, *, who: Who) -> str | None:
    """The link of a task for the person who took it, while it stands."""
    which = (pool_take.c.id == task_id, pool_take.c.actor == who.actor, pool_take.c.state.in_(("invited", "opened")))
    row = db.execute(sa.select(pool_take).where(*which, pool_take.c.until > now())).mappings().first()
    if row is None:
        return None
    db.execute(pool_take.update().where(pool_take.c.id == task_id).values(state="opened"))
    _note(db, who, f"Opened task {task_id} of {row['owner_title']}.")
    return str(row["link"])


def hear(db: sa.Connection, orders: PoolOrders, unseal: Callable[[Sealed], str]) -> None:
    """What became of tasks that were taken here. ``unseal``: the link, empty where it is none."""
    wanted = db.execute(sa.select(pool_take).where(pool_take.c.state.in_(_WANTED))).mappings().all()
    progress = {one.id: one for one in orders.progress}
    for row in wanted:
        one = progress.get(row["id"])
        if one is not None and (one.lost or one.outcome):
            state = one.outcome.value if one.outcome else "lost"
            _end_take(db, row, state)
        elif one is not None and one.invitation and one.invitation.id == row["id"] and row["state"] == "asked":
            link = unseal(one.invitation)
            if not link:
                _end_take(db, row, "lost")
                continue
            db.execute(pool_take.update().where(pool_take.c.id == row["id"]).values(state="invited", link=link))
            _note(db, NODE, f"Task {row['id']} of {row['owner_title']} may be read.")
        elif row["until"] <= now():
            _end_take(db, row, Outcome.EXPIRED.value)


def _end_take(db: sa.Connection, row: sa.RowMapping | dict[str, Any], state: str) -> None:
    db.execute(pool_take.update().where(pool_take.c.id == row["id"]).values(state=state, ended_at=now(), link=""))
    _note(db, NODE, f"Task {row['id']} of {row['owner_title']} ended: {state}.")


def _hash(secret: str) -> str:
    """Random enough for a hash without salt or delay."""
    return hashlib.sha256(secret.encode()).hexdigest()
