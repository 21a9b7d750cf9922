"""Which studies may go, and their going."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from pneumoscope.store.schema import (
    BuildState,
    DeliveryState,
    ReadingState,
    assessment,
    delivery,
    expectation,
    image,
    parcel,
    reading,
    review,
    series,
    set_aside,
    study,
)

#: What is still to be sent, or could be sent by an operator's act, keeps its study.
_UNDELIVERED = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.PENDING, DeliveryState.STOPPED)


def _kept() -> Sequence[sa.ColumnElement[bool]]:
    own = reading.c.StudyInstanceUID == study.c.StudyInstanceUID
    busy = sa.exists().where(own, reading.c.state.in_((ReadingState.WAITING, ReadingState.RUNNING)))
    again = delivery.alias("again")
    repeated = sa.exists().where(
        again.c.reading_id == delivery.c.reading_id,
        again.c.review_id == delivery.c.review_id,
        again.c.destination == delivery.c.destination,
        again.c.round > delivery.c.round,
    )
    unsent = sa.exists().where(own, delivery.c.reading_id == reading.c.id, delivery.c.state.in_(_UNDELIVERED), ~repeated)
    arriving = study.c.revision > study.c.taken_revision
    unmade = sa.exists().where(
        review.c.StudyInstanceUID == study.c.StudyInstanceUID,
        assessment.c.review_id == review.c.id,
        assessment.c.state == BuildState.WAITING,
    )
    return busy, unsent, arriving, unmade


def removable(db: sa.Connection, *, before: datetime | None, limit: int) -> list[str]:
    """Studies whose last image came ``before``, or ever, everything of which is done and delivered, oldest first."""
    old = sa.true() if before is None else study.c.last_image_at < before
    free = [~reason for reason in _kept()]
    query = sa.select(study.c.StudyInstanceUID).where(old, *free)
    return list(db.execute(query.order_by(study.c.last_image_at).limit(limit)).scalars())


def forget_aside(db: sa.Connection, *, before: datetime) -> list[str]:
    """Take what was set aside ``before``, and is of no study that is here, out of the database; returns the keys of its files.

    What belongs to a study goes with it.
    """
    known = sa.exists().where(study.c.StudyInstanceUID == set_aside.c.StudyInstanceUID)
    gone = set_aside.delete().where(set_aside.c.received_at < before, ~known).returning(set_aside.c.key)
    return list(db.execute(gone).scalars())


def remove(db: sa.Connection, StudyInstanceUID: str) -> list[str]:
    """Take a study out of the database and return the keys of its files; none where it may no longer go."""
    free = [~reason for reason in _kept()]
    still = sa.select(study.c.StudyInstanceUID).where(study.c.StudyInstanceUID == StudyInstanceUID, *free)
    if not db.execute(still.with_for_update()).first():  # or images that come in this moment would lose their study
        return []
    readings = sa.select(reading.c.id).where(reading.c.StudyInstanceUID == StudyInstanceUID).scalar_subquery()
    keys = set(db.execute(sa.select(image.c.key).where(image.c.StudyInstanceUID == StudyInstanceUID)).scalars())
    keys |= set(db.execute(sa.select(set_aside.c.key).where(set_aside.c.StudyInstanceUID == StudyInstanceUID)).scalars())
    keys |= set(db.execute(sa.select(parcel.c.key).where(parcel.c.reading_id.in_(readings))).scalars())
    db.execute(delivery.delete().where(delivery.c.reading_id.in_(readings)))
    db.execute(parcel.delete().where(parcel.c.reading_id.in_(readings)))
    for table in (reading, image, series, set_aside, expectation, study):
        db.execute(table.delete().where(table.c.StudyInstanceUID == StudyInstanceUID))
    return sorted(keys)
