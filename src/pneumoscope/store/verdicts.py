"""What people said of studies without having seen what a model said; added and never changed, a person's last one counts."""

import uuid
from datetime import datetime
from typing import Literal, NamedTuple

import sqlalchemy as sa

from pneumoscope.fleet.messages import Answer, Role
from pneumoscope.store import now
from pneumoscope.store.fleet_schema import observation, verdict

#: What can be said; a person who cannot say gives no verdict.
ALLOWED = (Answer.SIGN, Answer.INDETERMINATE, Answer.NO_SIGN)


class Beside(NamedTuple):
    """A verdict beside what a model said of the same study."""

    said: Answer
    model_said: Answer


def add(db: sa.Connection, StudyInstanceUID: str, category: Answer, *, reader: str, source: Literal["page", "report"]) -> str:
    """Keep a verdict; its id. The same once more, while it is the person's last on this study, is kept once."""
    mine = (verdict.c.StudyInstanceUID == StudyInstanceUID, verdict.c.reader == reader, verdict.c.source == source)
    last = db.execute(sa.select(verdict).where(*mine).order_by(verdict.c.at.desc()).limit(1)).mappings().first()
    if last is not None and last["category"] == category:
        return str(last["id"])
    verdict_id = str(uuid.uuid4())
    db.execute(
        verdict.insert().values(
            id=verdict_id,
            StudyInstanceUID=StudyInstanceUID,
            reader=reader,
            category=category,
            source=source,
            at=now(),
        )
    )
    return verdict_id


def of_study(db: sa.Connection, StudyInstanceUID: str) -> list[sa.RowMapping]:
    """All verdicts on a study, the last first."""
    query = sa.select(verdict).where(verdict.c.StudyInstanceUID == StudyInstanceUID)
    return list(db.execute(query.order_by(verdict.c.at.desc(), verdict.c.id)).mappings())


def between(db: sa.Connection, start: datetime, end: datetime) -> list[sa.RowMapping]:
    """Verdicts given in [``start``, ``end``), in order."""
    query = sa.select(verdict).where(verdict.c.at >= start, verdict.c.at < end)
    return list(db.execute(query.order_by(verdict.c.at, verdict.c.id)).mappings())


def beside(db: sa.Connection, model: str) -> list[Beside]:
    """Each reader's last verdict on each study beside the model's last word on it, where the model said one."""
    later, newer = verdict.alias("later"), observation.alias("newer")
    superseded = sa.exists().where(
        later.c.StudyInstanceUID == verdict.c.StudyInstanceUID,
        later.c.reader == verdict.c.reader,
        (later.c.at > verdict.c.at) | ((later.c.at == verdict.c.at) & (later.c.id > verdict.c.id)),
    )
    outdated = sa.exists().where(
        newer.c.StudyInstanceUID == observation.c.StudyInstanceUID,
        newer.c.model == model,
        newer.c.outcome == "read",
        newer.c.at > observation.c.at,
    )
    query = (
        sa.select(verdict.c.category, observation.c.category)
        .join(observation, observation.c.StudyInstanceUID == verdict.c.StudyInstanceUID)
        .where(observation.c.model == model, observation.c.outcome == "read", ~superseded, ~outdated)
        .where(observation.c.category.in_(ALLOWED), observation.c.role.in_((Role.PRESENT, Role.CANDIDATE)))
    )
    return [Beside(Answer(said), Answer(found)) for said, found in db.execute(query)]
