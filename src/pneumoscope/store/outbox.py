"""Deliveries: one row for each reading or answer and each destination, from waiting to confirmed, visible and resendable."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from pneumoscope.store import now
from pneumoscope.store.schema import DeliveryState, delivery

_OPEN = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.PENDING)
#: Backoff: these waits, then the last one again and again until ``GIVE_UP_AFTER``.
WAITS = tuple(timedelta(seconds=s) for s in (2, 5, 15, 60, 300, 900, 3600))
GIVE_UP_AFTER = timedelta(days=7)
NOT_COMMITTED = "not-committed"


def post(db: sa.Connection, reading_id: str, destinations: Sequence[str], *, review_id: str = "") -> None:
    """Put a reading's results, or what an answer to it was made into, into the outbox of each destination, once."""
    for destination in destinations:
        there = sa.select(delivery.c.id).where(*_same(reading_id, review_id, destination))
        if not db.execute(there).first():
            _add(db, reading_id, review_id, destination, turn=1)


def _same(reading_id: str, review_id: str, destination: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        delivery.c.reading_id == reading_id,
        delivery.c.review_id == review_id,
        delivery.c.destination == destination,
    )


def resend(db: sa.Connection, delivery_id: str) -> str:
    """Send once more, because a person asks for it: a new row beside the old one."""
    row = get(db, delivery_id)
    what = (row["reading_id"], row["review_id"], row["destination"])
    same = _same(*what)
    db.execute(delivery.update().where(*same, delivery.c.state.in_(_OPEN)).values(state=DeliveryState.CANCELLED, done_at=now()))
    last = db.execute(sa.select(sa.func.max(delivery.c.round)).where(*same)).scalar_one()
    return _add(db, *what, turn=last + 1)


def _add(db: sa.Connection, reading_id: str, review_id: str, destination: str, *, turn: int) -> str:
    delivery_id = str(uuid.uuid4())
    db.execute(
        delivery.insert().values(
            id=delivery_id,
            reading_id=reading_id,
            review_id=review_id,
            destination=destination,
            round=turn,
            state=DeliveryState.WAITING,
            due_at=now(),
            created_at=now(),
        )
    )
    return delivery_id


def get(db: sa.Connection, delivery_id: str) -> sa.RowMapping:
    """The row of a delivery. Raises NoResultFound."""
    return db.execute(sa.select(delivery).where(delivery.c.id == delivery_id)).mappings().one()


def of_reading(db: sa.Connection, reading_id: str, *, of_reviews: bool = False) -> list[sa.RowMapping]:
    """Deliveries of a reading's results, or those of what answers to it were made into."""
    which = delivery.c.review_id != "" if of_reviews else delivery.c.review_id == ""
    query = sa.select(delivery).where(delivery.c.reading_id == reading_id, which).order_by(delivery.c.created_at)
    return list(db.execute(query).mappings())


def anything_due(db: sa.Connection, *, process_id: str, busy: Sequence[str], patience: timedelta) -> bool:
    """Whether there is something to send, a commitment that did not come, or something that this process left."""
    waits = (delivery.c.state == DeliveryState.WAITING) & (delivery.c.due_at <= now())
    late = (delivery.c.state == DeliveryState.PENDING) & (delivery.c.due_at < now() - patience)
    left = sa.and_(*_left(process_id, busy))
    return db.execute(sa.select(delivery.c.id).where(waits | late | left).limit(1)).first() is not None


def _left(process_id: str, busy: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    """What a living process was sending and sends no more: it met a fault of ours."""
    return (
        delivery.c.process_id == process_id,
        delivery.c.state == DeliveryState.SENDING,
        delivery.c.destination.not_in(busy),
    )


def claim(db: sa.Connection, *, process_id: str, busy: Sequence[str], limit: int = 8) -> list[sa.RowMapping]:
    """Take what is due, at most one for each destination that is not ``busy``, so that a slow one holds up no other."""
    due = (delivery.c.state == DeliveryState.WAITING, delivery.c.due_at <= now())
    chosen: list[sa.RowMapping] = []
    while len(chosen) < limit:
        others = delivery.c.destination.not_in([*busy, *(row["destination"] for row in chosen)])
        first = sa.select(delivery).where(*due, others).order_by(delivery.c.due_at).limit(1)
        if (row := db.execute(first).mappings().first()) is None:
            break
        chosen.append(row)
    taken = []
    for row in chosen:
        # noted before anything is sent: a fast peer answers a commitment before the sending is over
        transaction_uid = f"2.25.{uuid.uuid4().int}"
        done = db.execute(
            delivery.update()
            .where(delivery.c.id == row["id"], delivery.c.state == DeliveryState.WAITING)
            .values(
                state=DeliveryState.SENDING,
                process_id=process_id,
                attempts=delivery.c.attempts + 1,
                transaction_uid=transaction_uid,
            )
        )
        if done.rowcount == 1:
            taken.append(get(db, row["id"]))
    return taken


def settle(db: sa.Connection, delivery_id: str, *, state: DeliveryState, message: str = "") -> None:
    """It went out. ``state``: delivered, confirmed, or pending on the storage commitment that was asked for.

    An answer to the commitment that came meanwhile stands.
    """
    pending = state is DeliveryState.PENDING
    before = (DeliveryState.SENDING,) if pending else (DeliveryState.SENDING, DeliveryState.PENDING)
    changes = {"state": state, "code": "", "message": message}
    db.execute(
        delivery.update()
        .where(delivery.c.id == delivery_id, delivery.c.state.in_(before))
        .values(**changes, **({"due_at": now()} if pending else {"done_at": now()}))
    )


def postpone(db: sa.Connection, delivery_id: str, *, code: str, message: str) -> datetime | None:
    """It did not go out and is tried again later; after days it stops. Returns when it is due, None where it stopped."""
    row = get(db, delivery_id)
    if now() - row["created_at"] > GIVE_UP_AFTER:
        stop(db, delivery_id, code=code, message=message)
        return None
    due_at = now() + WAITS[min(row["attempts"], len(WAITS)) - 1]
    db.execute(
        delivery.update()
        .where(delivery.c.id == delivery_id, delivery.c.state.in_(_OPEN))
        .values(state=DeliveryState.WAITING, due_at=due_at, code=code, message=message)
    )
    return due_at


def stop(db: sa.Connection, delivery_id: str, *, code: str, message: str) -> None:
    """It cannot go out until an operator acts and resends it."""
    db.execute(
        delivery.update()
        .where(delivery.c.id == delivery_id, delivery.c.state.in_(_OPEN))
        .values(state=DeliveryState.STOPPED, code=code, message=message, done_at=now())
    )


def release(db: sa.Connection, process_id: str) -> int:
    """What a dead process was sending waits again, at once: a resend is recognised by its UIDs."""
    done = db.execute(
        delivery.update()
        .where(delivery.c.process_id == process_id, delivery.c.state == DeliveryState.SENDING)
        .values(state=DeliveryState.WAITING, due_at=now())
    )
    return done.rowcount


def put_back(db: sa.Connection, *, process_id: str, busy: Sequence[str]) -> None:
    """What this process left, of all but the destinations that it is ``busy`` with, is tried again later."""
    for delivery_id in list(db.execute(sa.select(delivery.c.id).where(*_left(process_id, busy))).scalars()):
        postpone(db, delivery_id, code="bug", message="Its sending ended by a fault of ours.")


def answer(db: sa.Connection, transaction_uid: str, *, committed: bool) -> sa.RowMapping | None:
    """The destination answered a storage commitment; where it vouches for less than all, the results are sent again.

    Returns the delivery as it was before, None where none waits for this answer.
    """
    row = (
        db.execute(
            sa.select(delivery).where(
                delivery.c.transaction_uid == transaction_uid,
                delivery.c.state.in_((DeliveryState.SENDING, DeliveryState.PENDING)),
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    if committed:
        settle(db, row["id"], state=DeliveryState.CONFIRMED)
    else:
        postpone(db, row["id"], code=NOT_COMMITTED, message="The destination did not vouch for every object.")
    return row


def overdue(db: sa.Connection, *, older_than: timedelta) -> int:
    """Send again what no commitment came for in a long time."""
    rows = db.execute(
        sa.select(delivery.c.id).where(delivery.c.state == DeliveryState.PENDING, delivery.c.due_at < now() - older_than)
    ).scalars()
    return sum(
        postpone(db, delivery_id, code="no-commitment", message="No storage commitment came.") is not None
        for delivery_id in list(rows)
    )
