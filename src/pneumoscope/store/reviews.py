"""What people answer to readings: added and never changed, each person's last answer to a reading being the current one."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa

from pneumoscope.records import Answer, Assessment, Category, Judgement, Objection, Region
from pneumoscope.store import now, urgency
from pneumoscope.store.outbox import GIVE_UP_AFTER, WAITS
from pneumoscope.store.schema import BuildState, ReadingState, arrival, assessment, image, parcel, reading, review

#: Who makes the object of an answer and dies leaves it to others after so long.
LEASE = timedelta(minutes=2)
_later = review.alias("later")


class Added(NamedTuple):
    """The row of an answer, and whether it is new: given once more while it is the person's last, it counts once."""

    row: sa.RowMapping
    new: bool


def add(db: sa.Connection, reading_id: str, answer: Answer, *, reader: str) -> Added | None:
    """Add a person's answer to a reading, and the order to make an object of it; None where no such reading has results."""
    # the row is locked: answers to one reading come one after the other
    read = (reading.c.id == reading_id, reading.c.state == ReadingState.READ)
    found = db.execute(sa.select(reading).where(*read).with_for_update()).mappings().first()
    if found is None:
        return None
    mine = (review.c.reading_id == reading_id, review.c.reader == reader)
    earlier = db.execute(sa.select(review).where(*mine).order_by(review.c.number.desc()).limit(1)).mappings().first()
    if earlier is not None and as_assessment(earlier).answer == answer:
        return Added(earlier, new=False)
    review_id = str(uuid.uuid4())
    last = db.execute(sa.select(sa.func.max(review.c.number)).where(review.c.reading_id == reading_id)).scalar()
    values = _columns(answer) | {"id": review_id, "reading_id": reading_id, "reader": reader, "number": (last or 0) + 1}
    values |= {key: found[key] for key in ("StudyInstanceUID", "version", "model", "device_uid", "probability")}
    values |= {"found_category": found["category"], "site": _site(db, found["StudyInstanceUID"]), "at": now()}
    db.execute(review.insert().values(**values, supersedes=earlier["id"] if earlier else None))
    db.execute(assessment.insert().values(review_id=review_id, state=BuildState.WAITING, due_at=now()))
    urgency.refresh(db, found["StudyInstanceUID"])
    return Added(get(db, review_id), new=True)


def _columns(answer: Answer) -> dict[str, object]:
    return {
        "judgement": answer.judgement,
        "objection": answer.objection or "",
        "text": answer.text,
        "category": answer.category or "",
        "added": list(answer.added),
        "removed": list(answer.removed),
    }


def as_assessment(row: sa.RowMapping) -> Assessment:
    """A row as the noun."""
    answer = Answer(
        judgement=Judgement(row["judgement"]),
        objection=Objection(row["objection"]) if row["objection"] else None,
        text=row["text"],
        category=Category(row["category"]) if row["category"] else None,
        added=tuple(map(Region, row["added"])),
        removed=tuple(map(Region, row["removed"])),
    )
    return Assessment(
        id=row["id"],
        number=row["number"],
        reader=row["reader"],
        answer=answer,
        made_at=row["at"],
        supersedes=row["supersedes"] or "",
    )


def _site(db: sa.Connection, StudyInstanceUID: str) -> str:
    """AE title that sent the study's first image, or how it came where none did."""
    query = (
        sa.select(arrival.c.channel, arrival.c.sender)
        .join(image, image.c.arrival_id == arrival.c.id)
        .where(image.c.StudyInstanceUID == StudyInstanceUID)
        .order_by(image.c.received_at)
    )
    row = db.execute(query.limit(1)).first()
    return "" if row is None else str(row.sender) if row.channel == "dicom" and row.sender else str(row.channel)


def get(db: sa.Connection, review_id: str) -> sa.RowMapping:
    """The row of an answer. Raises NoResultFound."""
    return db.execute(sa.select(review).where(review.c.id == review_id)).mappings().one()


def _is_current() -> sa.ColumnElement[bool]:
    return ~sa.exists().where(_later.c.supersedes == review.c.id)


def latest(db: sa.Connection, reading_ids: Sequence[str]) -> dict[str, list[sa.RowMapping]]:
    """The current answers to each of these readings, one a person, the first to answer first."""
    query = sa.select(review).where(review.c.reading_id.in_(reading_ids), _is_current()).order_by(review.c.number)
    found: dict[str, list[sa.RowMapping]] = {}
    for row in db.execute(query).mappings():
        found.setdefault(row["reading_id"], []).append(row)
    return found


def of_reading(db: sa.Connection, reading_id: str) -> list[sa.RowMapping]:
    """Every answer to a reading, the last first: whether it is ``current``, and what became of its object."""
    made = (assessment.c.state, assessment.c.code, assessment.c.message, parcel.c.SOPInstanceUID)
    query = (
        sa.select(review, _is_current().label("current"), *made)
        .join(assessment, assessment.c.review_id == review.c.id)
        .outerjoin(parcel, (parcel.c.review_id == review.c.id) & (parcel.c.SOPInstanceUID != ""))
        .where(review.c.reading_id == reading_id)
    )
    return list(db.execute(query.order_by(review.c.number.desc())).mappings())


def newer_version(db: sa.Connection, row: sa.RowMapping) -> int | None:
    """The latest version that was read and supersedes the one that this answer is of."""
    later = (
        reading.c.StudyInstanceUID == row["StudyInstanceUID"],
        reading.c.version > row["version"],
        reading.c.state == ReadingState.READ,
    )
    return db.execute(sa.select(sa.func.max(reading.c.version)).where(*later)).scalar()


def all_of(db: sa.Connection, *, current: bool = True, model: str = "") -> list[sa.RowMapping]:
    """Answers in the order they were given: all, or each person's last one to each reading."""
    query = sa.select(review).order_by(review.c.at, review.c.id)
    if current:
        query = query.where(_is_current())
    if model:
        query = query.where(review.c.model == model)
    return list(db.execute(query).mappings())


def models(db: sa.Connection) -> list[str]:
    """Models whose readings were answered."""
    return list(db.execute(sa.select(review.c.model).distinct().order_by(review.c.model)).scalars())


def anything_due(db: sa.Connection) -> bool:
    """Whether an object is to be made."""
    due = (assessment.c.state == BuildState.WAITING, assessment.c.due_at <= now())
    return db.execute(sa.select(assessment.c.review_id).where(*due).limit(1)).first() is not None


def claim(db: sa.Connection) -> str | None:
    """Take an object that is to be made, for ``LEASE``; returns which answer it is of."""
    due = (assessment.c.state == BuildState.WAITING, assessment.c.due_at <= now())
    for review_id in db.execute(sa.select(assessment.c.review_id).where(*due).order_by(assessment.c.due_at).limit(8)).scalars():
        taken = assessment.update().where(assessment.c.review_id == review_id, *due)
        if db.execute(taken.values(due_at=now() + LEASE, attempts=assessment.c.attempts + 1)).rowcount == 1:
            return str(review_id)
    return None


def made(db: sa.Connection, review_id: str) -> bool:
    """Its object is made; False where another process was quicker."""
    return _move(db, review_id, state=BuildState.MADE, code="", message="")


def postpone(db: sa.Connection, review_id: str, *, code: str, message: str, for_ever: bool = False) -> None:
    """Its object could not be made: tried again later, for days; or never, where that is of no use."""
    row = db.execute(sa.select(assessment).where(assessment.c.review_id == review_id)).mappings().one()
    if for_ever or now() - get(db, review_id)["at"] > GIVE_UP_AFTER:
        _move(db, review_id, state=BuildState.STOPPED, code=code, message=message)
        return
    due_at = now() + WAITS[min(max(row["attempts"], 1), len(WAITS)) - 1]
    _move(db, review_id, state=BuildState.WAITING, code=code, message=message, due_at=due_at)


def _move(db: sa.Connection, review_id: str, **values: object) -> bool:
    waiting = (assessment.c.review_id == review_id, assessment.c.state == BuildState.WAITING)
    return db.execute(assessment.update().where(*waiting).values(**values)).rowcount == 1
