"""What each model made of each study, shown or not: for comparison and for the watch; none of it leaves the site."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pneumoscope.fleet.messages import Answer, Mode, Role
from pneumoscope.records import Category
from pneumoscope.store import now
from pneumoscope.store.fleet_schema import observation

#: Categories of a reading as the wire and the tables here have them.
ANSWERS = {
    Category.NO_SIGN: Answer.NO_SIGN,
    Category.INDETERMINATE: Answer.INDETERMINATE,
    Category.SIGN: Answer.SIGN,
    Category.CANNOT_SAY: Answer.CANNOT_SAY,
}


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One reading that ended. ``outcome``: read, refused, failed; ``category``: of a reading that was read."""

    reading_id: str
    StudyInstanceUID: str
    model: str
    device_uid: str = ""
    role: Role
    mode: Mode
    outcome: str
    code: str = ""
    probability: float | None = None
    category: Answer | None = None
    involved_share: float | None = None
    reading_s: float | None = None
    wait_s: float | None = None
    features: Mapping[str, float | str] = field(default_factory=dict)


class Pair(NamedTuple):
    """What the present model and the candidate said of one study."""

    present: Answer | None
    candidate: Answer | None
    score_difference: float | None  # candidate minus present


def record(db: sa.Connection, observed: Observed) -> bool:
    """Keep it; False where the same model's reading of it is known already."""
    insert = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    values = {**vars(observed), "category": observed.category or "", "features": dict(observed.features)}
    row = insert(observation).values(id=str(uuid.uuid4()), at=now(), **values)
    return db.execute(row.on_conflict_do_nothing()).rowcount == 1


def between(db: sa.Connection, start: datetime, end: datetime) -> list[sa.RowMapping]:
    """Readings that ended in [``start``, ``end``), in order."""
    query = sa.select(observation).where(observation.c.at >= start, observation.c.at < end)
    return list(db.execute(query.order_by(observation.c.at, observation.c.id)).mappings())


def of_study(db: sa.Connection, StudyInstanceUID: str) -> list[sa.RowMapping]:
    """Everything that was observed of a study, in order."""
    query = sa.select(observation).where(observation.c.StudyInstanceUID == StudyInstanceUID)
    return list(db.execute(query.order_by(observation.c.at, observation.c.id)).mappings())


def first_at(db: sa.Connection) -> datetime | None:
    """When the first was made."""
    return db.execute(sa.select(sa.func.min(observation.c.at))).scalar()


def pairs(db: sa.Connection, *, candidate: str, present: str = "", since: datetime | None = None) -> Sequence[Pair]:
    """Studies that both models read, by reading."""
    one, other = observation.alias("one"), observation.alias("other")
    query = (
        sa.select(one.c.category, other.c.category, other.c.probability - one.c.probability)
        .join(other, other.c.reading_id == one.c.reading_id)
        .where(one.c.role == Role.PRESENT, other.c.role == Role.CANDIDATE, other.c.model == candidate)
        .where(one.c.outcome == "read", other.c.outcome == "read")
    )
    if present:
        query = query.where(one.c.model == present)
    if since:
        query = query.where(other.c.at >= since)
    return [Pair(_answer(a), _answer(b), difference) for a, b, difference in db.execute(query)]


def last_device(db: sa.Connection, model: str) -> str:
    """Device UID that a model's readings bore, empty where there are none."""
    query = sa.select(observation.c.device_uid).where(observation.c.model == model, observation.c.device_uid != "")
    return str(db.execute(query.order_by(observation.c.at.desc()).limit(1)).scalar() or "")


def _answer(word: str) -> Answer | None:
    return Answer(word) if word else None
