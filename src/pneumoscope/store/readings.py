"""Readings: from waiting to read, held, refused or failed; their results; what later versions do to earlier ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from pydicom.uid import Comprehensive3DSRStorage

from pneumoscope.records import Predecessor
from pneumoscope.store import now, urgency
from pneumoscope.store.schema import ReadingState, StudyState, image, parcel, reading, study

_STUDY_STATE = {
    ReadingState.WAITING: StudyState.WAITING,
    ReadingState.RUNNING: StudyState.READING,
    ReadingState.READ: StudyState.READ,
    ReadingState.HELD: StudyState.HELD,
    ReadingState.REFUSED: StudyState.REFUSED,
    ReadingState.FAILED: StudyState.FAILED,
}
_OPEN = (ReadingState.WAITING, ReadingState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the list of studies shows of a reading."""

    probability: float | None
    category: str
    headline: str
    involved_share: float
    model: str
    device_uid: str
    right_share: float | None = None
    left_share: float | None = None
    severity_points: int | None = None


@dataclass(frozen=True, kw_only=True)
class StoredParcel:
    """A result that lies in the file store; ``SOPInstanceUID`` is empty where it is no DICOM object."""

    name: str
    media_type: str
    key: str
    size_bytes: int
    SOPInstanceUID: str = ""


def get(db: sa.Connection, reading_id: str) -> sa.RowMapping:
    """The row of a reading. Raises NoResultFound."""
    return db.execute(sa.select(reading).where(reading.c.id == reading_id)).mappings().one()


def find(db: sa.Connection, reading_id: str) -> sa.RowMapping | None:
    """The row of a reading; None where its study was removed."""
    return db.execute(sa.select(reading).where(reading.c.id == reading_id)).mappings().first()


def versions(db: sa.Connection, StudyInstanceUID: str) -> list[sa.RowMapping]:
    """Readings of a study, the latest first."""
    query = sa.select(reading).where(reading.c.StudyInstanceUID == StudyInstanceUID).order_by(reading.c.version.desc())
    return list(db.execute(query).mappings())


def predecessor(db: sa.Connection, reading_id: str) -> Predecessor | None:
    """The latest version before this one that was read, with its structured report."""
    row = get(db, reading_id)
    query = (
        sa.select(
            reading.c.created_at.label("made_at"), reading.c.device_uid, image.c.SeriesInstanceUID, image.c.SOPInstanceUID
        )
        .join(parcel, parcel.c.reading_id == reading.c.id)
        .join(image, image.c.SOPInstanceUID == parcel.c.SOPInstanceUID)
        .where(parcel.c.review_id == "")  # what people answered is a structured report too
        .where(reading.c.StudyInstanceUID == row["StudyInstanceUID"], reading.c.version < row["version"])
        .where(reading.c.state == ReadingState.READ, image.c.SOPClassUID == Comprehensive3DSRStorage)
        .order_by(reading.c.version.desc())
    )
    found = db.execute(query.limit(1)).mappings().first()
    return Predecessor(**found) if found else None


def to_enqueue(db: sa.Connection) -> list[sa.RowMapping]:
    """Readings that are due and not in the queue, urgent ones first."""
    query = sa.select(reading).where(
        reading.c.state == ReadingState.WAITING, reading.c.workflow_id.is_(None), reading.c.due_at <= now()
    )
    return list(db.execute(query.order_by(reading.c.priority, reading.c.created_at)).mappings())


def enqueued(db: sa.Connection, reading_id: str, workflow_id: str) -> None:
    """The workflow that carries it out is in the queue."""
    db.execute(reading.update().where(reading.c.id == reading_id).values(workflow_id=workflow_id))


def under_way(db: sa.Connection) -> list[sa.RowMapping]:
    """Readings that are not over and whose workflow is, or was, in the queue."""
    query = sa.select(reading).where(reading.c.state.in_(_OPEN), reading.c.workflow_id.is_not(None))
    return list(db.execute(query).mappings())


def unlisted(db: sa.Connection) -> list[sa.RowMapping]:
    """Readings that no work item shows yet."""
    return list(db.execute(sa.select(reading).where(sa.not_(reading.c.listed)).order_by(reading.c.created_at)).mappings())


def listed(db: sa.Connection, reading_id: str) -> None:
    """A work item shows it."""
    db.execute(reading.update().where(reading.c.id == reading_id).values(listed=True))


def last_model(db: sa.Connection) -> str:
    """Name and version of the model that read last, empty where none has."""
    query = sa.select(reading.c.model).where(reading.c.model != "").order_by(reading.c.finished_at.desc()).limit(1)
    return str(db.execute(query).scalar() or "")


def asked_again(db: sa.Connection, reading_id: str) -> bool:
    """Whether the same images were read before: not their arrival but a person led to this reading."""
    row = get(db, reading_id)
    earlier = (reading.c.version < row["version"], reading.c.revision == row["revision"])
    query = sa.select(reading.c.id).where(reading.c.StudyInstanceUID == row["StudyInstanceUID"], *earlier)
    return db.execute(query.limit(1)).first() is not None


def urgent_waiting(db: sa.Connection, *, than: int) -> bool:
    """Whether a reading more urgent ``than`` this priority waits."""
    query = sa.select(reading.c.id).where(reading.c.state == ReadingState.WAITING, reading.c.priority < than)
    return db.execute(query.limit(1)).first() is not None


def start(db: sa.Connection, reading_id: str, *, process_id: str) -> int:
    """A process begins, or takes over, a reading; returns which attempt this is, 0 where the reading is over."""
    begun = _move(
        db, reading_id, ReadingState.RUNNING, process_id=process_id, started_at=now(), attempts=reading.c.attempts + 1
    )
    return int(get(db, reading_id)["attempts"]) if begun else 0


def put_back(db: sa.Connection, reading_id: str, *, after: timedelta, code: str, message: str, more_attempts: int = 0) -> None:
    """The reading waits again, and the reason stands beside. ``more_attempts``: -1 where this was none."""
    _move(
        db,
        reading_id,
        ReadingState.WAITING,
        workflow_id=None,
        due_at=now() + after,
        attempts=reading.c.attempts + more_attempts,
        code=code,
        message=message,
    )


def finish(db: sa.Connection, reading_id: str, *, summary: Summary, parcels: Iterable[StoredParcel]) -> bool:
    """The reading is done and its results are stored; False where another process had finished it before."""
    if not _move(db, reading_id, ReadingState.READ, finished_at=now(), code="", message="", **vars(summary)):
        return False
    add_parcels(db, reading_id, parcels)
    return True


def add_parcels(db: sa.Connection, reading_id: str, items: Iterable[StoredParcel], *, review_id: str = "") -> None:
    """List stored results of a reading, or of an answer to it."""
    if rows := [{"reading_id": reading_id, "review_id": review_id, **vars(item)} for item in items]:
        db.execute(parcel.insert(), rows)


def close(db: sa.Connection, reading_id: str, *, state: ReadingState, code: str, message: str) -> bool:
    """The reading ends without results: refused for ever, or failed until an operator acts."""
    return _move(db, reading_id, state, finished_at=now(), code=code, message=message)


def hold(db: sa.Connection, reading_id: str, *, code: str, message: str, model: str, device_uid: str) -> bool:
    """The reading is done and nothing of it is shown; False where another process had ended it before."""
    return _move(
        db, reading_id, ReadingState.HELD, finished_at=now(), code=code, message=message, model=model, device_uid=device_uid
    )


def _move(db: sa.Connection, reading_id: str, state: ReadingState, **values: object) -> bool:
    done = db.execute(
        reading.update().where(reading.c.id == reading_id, reading.c.state.in_(_OPEN)).values(state=state, **values)
    )
    if done.rowcount != 1:
        return False
    row = get(db, reading_id)
    later = sa.exists().where(reading.c.StudyInstanceUID == row["StudyInstanceUID"], reading.c.version > row["version"])
    db.execute(  # a study shows what became of its latest version
        study.update()
        .where(study.c.StudyInstanceUID == row["StudyInstanceUID"], ~later)
        .values(state=_STUDY_STATE[state], code=row["code"], message=row["message"])
    )
    urgency.refresh(db, row["StudyInstanceUID"])
    return True


def parcels(db: sa.Connection, reading_id: str, *, review_id: str = "") -> list[StoredParcel]:
    """Results of a reading, or of an answer to it, by name."""
    which = (parcel.c.reading_id == reading_id, parcel.c.review_id == review_id)
    columns = [column for column in parcel.columns if column.name not in ("reading_id", "review_id")]
    return [StoredParcel(**row) for row in db.execute(sa.select(*columns).where(*which).order_by(parcel.c.name)).mappings()]


def with_parcel(db: sa.Connection, reading_ids: Sequence[str], name: str) -> dict[str, str]:
    """Which of these readings have a result of this name, and the key of its file."""
    query = sa.select(parcel.c.reading_id, parcel.c.key).where(parcel.c.reading_id.in_(reading_ids), parcel.c.name == name)
    return {row.reading_id: row.key for row in db.execute(query)}
