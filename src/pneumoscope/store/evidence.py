"""What a site's own watch looks at: readings of the model in service since it came into service, with what people said."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from pneumoscope.fleet.messages import Role
from pneumoscope.fleet.watching import Observed
from pneumoscope.store import now
from pneumoscope.store.fleet_schema import observation, service_act, verdict
from pneumoscope.store.schema import review
from pneumoscope.store.tellings import REJECTED, said

#: Acts after which what was seen before says nothing any more.
FRESH = ("begin", "promote", "back", "resume")
#: A year tells what is usual; more is not looked at every minute.
LONGEST = timedelta(days=400)


def since(db: sa.Connection) -> datetime:
    """Where the watch begins: when the present model came into service, or people resumed it."""
    query = sa.select(sa.func.max(service_act.c.at)).where(service_act.c.act.in_(FRESH))
    earliest = (now() - LONGEST).replace(hour=0, minute=0, second=0, microsecond=0)
    return max(db.execute(query).scalar() or earliest, earliest)


def extent(db: sa.Connection, begin: datetime) -> tuple[int, int, int]:
    """Grows with whatever there is to look at."""
    tables = (observation, review, verdict)
    counted = (sa.select(sa.func.count()).select_from(t).where(t.c.at >= begin) for t in tables)
    readings, reviews, verdicts = (int(db.execute(query).scalar_one()) for query in counted)
    return readings, reviews, verdicts


def gather(db: sa.Connection, model: str, begin: datetime) -> Sequence[Observed]:
    """Readings of ``model`` in service since ``begin``, each with the last word of people on it."""
    query = sa.select(observation).where(
        observation.c.at >= begin, observation.c.role == Role.PRESENT, observation.c.model.in_((model, ""))
    )
    rows = list(db.execute(query.order_by(observation.c.at, observation.c.id)).mappings())
    words = _blind(db, begin) | _answered(db, begin)  # of two, the one on this reading
    return [_observed(row, words.get(row["reading_id"], words.get(row["StudyInstanceUID"], ""))) for row in rows]


def _observed(row: sa.RowMapping, word: str) -> Observed:
    names = ("at", "outcome", "code", "probability", "category", "wait_s", "reading_s", "features")
    return Observed(
        **{name: row[name] for name in names},
        answer="" if word == REJECTED else word,
        agreed=word == row["category"] if word and row["outcome"] == "read" else None,
    )


def _answered(db: sa.Connection, begin: datetime) -> dict[str, str]:
    query = sa.select(review.c.reading_id, review.c.judgement, review.c.category, observation.c.category.label("found")).join(
        observation, (review.c.reading_id == observation.c.reading_id) & (review.c.model == observation.c.model)
    )
    query = query.where(observation.c.at >= begin, observation.c.role == Role.PRESENT).order_by(review.c.at, review.c.id)
    return {row.reading_id: said(row.found, row.judgement, row.category) for row in db.execute(query)}


def _blind(db: sa.Connection, begin: datetime) -> dict[str, str]:
    query = sa.select(verdict.c.StudyInstanceUID, verdict.c.category).where(verdict.c.at >= begin)
    return {row.StudyInstanceUID: row.category for row in db.execute(query.order_by(verdict.c.at, verdict.c.id))}
