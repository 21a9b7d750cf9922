"""What waits for a moment, when the clock that told the moment was set."""

from datetime import timedelta

import sqlalchemy as sa

from pneumoscope.store import now
from pneumoscope.store.schema import CommitmentState, DeliveryState, ReadingState, arrival, commitment, delivery, reading

#: Nothing is made to wait longer than this, so that what is due later was noted by a clock that went ahead.
LONGEST = timedelta(hours=1)
_WAITING = (
    (reading.c.due_at, reading.c.state == ReadingState.WAITING),
    (delivery.c.due_at, delivery.c.state.in_((DeliveryState.WAITING, DeliveryState.PENDING))),
    (commitment.c.due_at, commitment.c.state == CommitmentState.WAITING),
    (arrival.c.closed_at, sa.true()),
)


def cut(db: sa.Connection, *, to: timedelta) -> int:
    """What would wait longer than ``to`` is due now; earlier than meant does no harm. Returns how many rows that were."""
    moment = now()
    return sum(
        db.execute(column.table.update().where(waiting, column > moment + to).values({column.name: moment})).rowcount
        for column, waiting in _WAITING
    )
