"""Studies as people and the workflow see them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pneumoscope.store import now, urgency
from pneumoscope.store.arrivals import is_open
from pneumoscope.store.schema import (
    ReadingState,
    StudyState,
    arrival,
    expectation,
    image,
    reading,
    set_aside,
    study,
)


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """A study with images that no reading has taken yet, and what is known of whether more will come."""

    StudyInstanceUID: str
    revision: int
    priority: int
    last_image_at: datetime
    longest_pause_s: float
    open_arrivals: int
    images: int
    expected_images: int | None
    expectation_source: str  # empty where nobody has been asked


def arriving(db: sa.Connection) -> list[Arriving]:
    """Studies that wait to be complete, urgent ones first."""
    untaken = study.c.revision > study.c.taken_revision
    images = (
        sa.select(sa.func.count())
        .select_from(image)
        .where(image.c.StudyInstanceUID == study.c.StudyInstanceUID, image.c.reading_id.is_(None))
        .scalar_subquery()
    )
    brought = sa.select(image.c.arrival_id).where(image.c.StudyInstanceUID == study.c.StudyInstanceUID).distinct()
    still_open = (
        sa.select(sa.func.count()).select_from(arrival).where(is_open(now()), arrival.c.id.in_(brought)).scalar_subquery()
    )
    query = (
        sa.select(
            study.c.StudyInstanceUID,
            study.c.revision,
            study.c.priority,
            study.c.last_image_at,
            study.c.longest_pause_s,
            still_open.label("open_arrivals"),
            images.label("images"),
            expectation.c.images.label("expected_images"),
            sa.func.coalesce(expectation.c.source, "").label("expectation_source"),
        )
        .outerjoin(expectation, expectation.c.StudyInstanceUID == study.c.StudyInstanceUID)
        .where(untaken)
        .order_by(study.c.priority, study.c.first_image_at)
    )
    return [Arriving(**row) for row in db.execute(query).mappings()]


def take(db: sa.Connection, StudyInstanceUID: str, *, revision: int) -> str | None:
    """Make a reading of a study as it stands at ``revision``; None where another process took it or more images came."""
    done = db.execute(
        study.update()
        .where(study.c.StudyInstanceUID == StudyInstanceUID, study.c.revision == revision, study.c.taken_revision < revision)
        .values(taken_revision=revision, state=StudyState.WAITING, code="", message="")
    )
    return _new_reading(db, StudyInstanceUID) if done.rowcount == 1 else None


def read_again(db: sa.Connection, StudyInstanceUID: str, *, urgency: int | None = None) -> str | None:
    """Make a reading of a study as it stands, because someone asks for it; None where it has no images.

    ``urgency``: a priority that the study has from now on where it was less urgent.
    """
    changes = {"taken_revision": study.c.revision, "state": StudyState.WAITING, "code": "", "message": ""}
    if urgency is not None:
        changes["priority"] = sa.case((study.c.priority > urgency, urgency), else_=study.c.priority)
    done = db.execute(study.update().where(study.c.StudyInstanceUID == StudyInstanceUID, study.c.revision > 0).values(changes))
    return _new_reading(db, StudyInstanceUID) if done.rowcount == 1 else None


def _new_reading(db: sa.Connection, StudyInstanceUID: str) -> str:
    row = db.execute(sa.select(study).where(study.c.StudyInstanceUID == StudyInstanceUID)).mappings().one()
    latest = db.execute(
        sa.select(sa.func.max(reading.c.version)).where(reading.c.StudyInstanceUID == StudyInstanceUID)
    ).scalar()
    reading_id = str(uuid.uuid4())
    db.execute(
        reading.insert().values(
            id=reading_id,
            StudyInstanceUID=StudyInstanceUID,
            version=(latest or 0) + 1,
            revision=row["revision"],
            state=ReadingState.WAITING,
            priority=row["priority"],
            created_at=now(),
            due_at=now(),
            last_image_at=row["last_image_at"],
        )
    )
    urgency.refresh(db, StudyInstanceUID)
    return reading_id


def source_keys(db: sa.Connection, StudyInstanceUID: str) -> list[str]:
    """Keys of the files of a study that are not results of ours."""
    query = (
        sa.select(image.c.key)
        .where(image.c.StudyInstanceUID == StudyInstanceUID, image.c.reading_id.is_(None))
        .order_by(image.c.SOPInstanceUID)
    )
    return list(db.execute(query).scalars())


def get(db: sa.Connection, StudyInstanceUID: str) -> sa.RowMapping | None:
    """The row of a study."""
    return db.execute(sa.select(study).where(study.c.StudyInstanceUID == StudyInstanceUID)).mappings().first()


def newest(db: sa.Connection, *, limit: int = 200, states: Sequence[str] = ()) -> list[sa.RowMapping]:
    """Studies with their latest reading, the last to arrive first."""
    latest = sa.select(reading.c.StudyInstanceUID, sa.func.max(reading.c.version).label("version")).group_by(
        reading.c.StudyInstanceUID
    )
    last = latest.subquery()
    query = (
        sa.select(
            study,
            reading.c.id.label("reading_id"),
            reading.c.version,
            reading.c.probability,
            reading.c.category,
            reading.c.headline,
            reading.c.involved_share,
            reading.c.right_share,
            reading.c.left_share,
            reading.c.severity_points,
            reading.c.created_at,
            reading.c.started_at,
            reading.c.finished_at,
        )
        .outerjoin(last, last.c.StudyInstanceUID == study.c.StudyInstanceUID)
        .outerjoin(reading, (reading.c.StudyInstanceUID == study.c.StudyInstanceUID) & (reading.c.version == last.c.version))
        .order_by(study.c.last_image_at.desc())
        .limit(limit)
    )
    if states:
        query = query.where(study.c.state.in_(states))
    return list(db.execute(query).mappings())


def aside_of(db: sa.Connection, StudyInstanceUID: str) -> list[sa.RowMapping]:
    """What was set aside of a study, with its reason."""
    query = sa.select(set_aside).where(set_aside.c.StudyInstanceUID == StudyInstanceUID).order_by(set_aside.c.received_at)
    return list(db.execute(query).mappings())
