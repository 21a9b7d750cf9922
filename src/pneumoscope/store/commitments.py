"""Storage commitments that senders ask of us; they outlive the process that took them."""

import uuid
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from pneumoscope.store import now
from pneumoscope.store.schema import CommitmentState, commitment

WAITS = tuple(timedelta(seconds=s) for s in (1, 5, 30, 120, 600, 3600))
GIVE_UP_AFTER = timedelta(days=3)


def ask(db: sa.Connection, *, transaction_uid: str, sender: str, address: str, items: Sequence[tuple[str, str]]) -> None:
    """Note what ``sender`` wants us to vouch for, (SOPClassUID, SOPInstanceUID) each; asked again it starts anew."""
    same = (commitment.c.sender == sender, commitment.c.transaction_uid == transaction_uid)
    db.execute(commitment.delete().where(*same))
    db.execute(
        commitment.insert().values(
            id=str(uuid.uuid4()),
            transaction_uid=transaction_uid,
            sender=sender,
            address=address,
            items=[list(item) for item in items],
            state=CommitmentState.WAITING,
            due_at=now(),
            received_at=now(),
        )
    )


def due(db: sa.Connection, *, limit: int = 20) -> list[sa.RowMapping]:
    """Those to be answered now."""
    query = sa.select(commitment).where(commitment.c.state == CommitmentState.WAITING, commitment.c.due_at <= now())
    return list(db.execute(query.order_by(commitment.c.due_at).limit(limit)).mappings())


def claim(db: sa.Connection, *, lease: timedelta) -> sa.RowMapping | None:
    """Take one that is due, so that no other process answers it too; it is due again after ``lease`` unless it is settled."""
    for row in due(db):
        mine = db.execute(
            commitment.update()
            .where(commitment.c.id == row["id"], commitment.c.due_at == row["due_at"])
            .where(commitment.c.state == CommitmentState.WAITING)
            .values(due_at=now() + lease)
        )
        if mine.rowcount == 1:
            return row
    return None


def answered(db: sa.Connection, commitment_id: str) -> None:
    """The sender has our answer."""
    db.execute(commitment.update().where(commitment.c.id == commitment_id).values(state=CommitmentState.ANSWERED, code=""))


def postpone(db: sa.Connection, commitment_id: str, *, code: str) -> None:
    """The sender could not be reached; tried again later, for days."""
    row = db.execute(sa.select(commitment).where(commitment.c.id == commitment_id)).mappings().one()
    attempts = row["attempts"] + 1
    given_up = now() - row["received_at"] > GIVE_UP_AFTER
    db.execute(
        commitment.update()
        .where(commitment.c.id == commitment_id)
        .values(
            attempts=attempts,
            code=code,
            due_at=now() + WAITS[min(attempts, len(WAITS)) - 1],
            state=CommitmentState.STOPPED if given_up else CommitmentState.WAITING,
        )
    )
