"""Windows of this site for its hub: closed once, kept until the hub has them, never changed."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pneumoscope.fleet.messages import Mode, Role, Window, window_start
from pneumoscope.fleet.windows import Answered, Seen, build
from pneumoscope.records import Category, Judgement
from pneumoscope.store import now
from pneumoscope.store.fleet_schema import fleet_window, observation, verdict
from pneumoscope.store.observations import ANSWERS
from pneumoscope.store.schema import review

#: What was written in a window may be committed so long after its end.
SETTLES = timedelta(seconds=10)
#: Windows made at one go.
AT_ONCE = 100
#: Windows in one report.
IN_A_REPORT = 50
REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class Span:
    """[``start``, ``end``)."""

    start: datetime
    end: datetime

    def holds(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """Whether a moment lies in it."""
        return sa.and_(column >= self.start, column < self.end)


def close(db: sa.Connection, *, since: datetime, until: datetime, window_s: float, not_before: datetime | None = None) -> int:
    """Make the windows that are over at ``until``, each beginning where the last ended; returns how many.

    The first of all begins with that of ``since``; none before ``not_before``, where the hub's end, since this database may be
    an older one than the hub heard from.
    """
    last = db.execute(sa.select(sa.func.max(fleet_window.c.end))).scalar()
    start, made = last or window_start(since, window_s=window_s), 0
    start = max(start, not_before or start)
    while made < AT_ONCE:
        # aligned again after the length of windows was changed
        span = Span(start=start, end=window_start(start, window_s=window_s) + timedelta(seconds=window_s))
        if span.end + SETTLES > until:
            break
        content = of(db, span).model_dump(mode="json")
        db.execute(fleet_window.insert().values(start=span.start, end=span.end, content=content))
        start, made = span.end, made + 1
    return made


def due(db: sa.Connection) -> list[Window]:
    """Those that the hub has not, the oldest first, as many as go into a report."""
    query = sa.select(fleet_window.c.content).where(fleet_window.c.kept_at.is_(None)).order_by(fleet_window.c.start)
    return [Window.model_validate_json(json.dumps(content)) for content in db.execute(query.limit(IN_A_REPORT)).scalars()]


def waiting(db: sa.Connection) -> int:
    """How many the hub has not."""
    return db.execute(sa.select(sa.func.count()).select_from(fleet_window).where(fleet_window.c.kept_at.is_(None))).scalar_one()


def kept(db: sa.Connection, starts: Iterable[datetime]) -> None:
    """The hub has these."""
    which = (fleet_window.c.start.in_(list(starts)), fleet_window.c.kept_at.is_(None))
    db.execute(fleet_window.update().where(*which).values(kept_at=now()))


def of(db: sa.Connection, span: Span) -> Window:
    """The window of a span, from what was written in it."""
    query = sa.select(observation).where(span.holds(observation.c.at)).order_by(observation.c.at, observation.c.id)
    rows = [_seen(row) for row in db.execute(query).mappings()]
    candidates = [row.reading_id for row in rows if row.role is Role.CANDIDATE]
    present = _present(db, candidates)
    answered = sorted([*_reviewed(db, span), *_blind(db, span)], key=lambda one: one[0])
    return build(span.start, span.end, seen=rows, answered=[one for _, one in answered], present=present)


def _present(db: sa.Connection, reading_ids: Sequence[str]) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    for first in range(0, len(reading_ids), 500):
        which = (observation.c.reading_id.in_(reading_ids[first : first + 500]), observation.c.role == Role.PRESENT)
        found |= {row["reading_id"]: _seen(row) for row in db.execute(sa.select(observation).where(*which)).mappings()}
    return found


def _reviewed(db: sa.Connection, span: Span) -> list[tuple[datetime, Answered]]:
    """Answers given in the span to what the model in service said; to a candidate's they are none, which nobody saw."""
    query = (
        sa.select(observation, review.c.at.label("said_at"), review.c.judgement, review.c.category.label("corrected"))
        .join(review, (review.c.reading_id == observation.c.reading_id) & (review.c.model == observation.c.model))
        .where(span.holds(review.c.at), observation.c.role == Role.PRESENT, observation.c.outcome == "read")
    )
    return [
        (row["said_at"], Answered(seen=_seen(row), said=said(row["category"], row["judgement"], row["corrected"])))
        for row in db.execute(query.order_by(review.c.at, review.c.id)).mappings()
    ]


def said(found: str, judgement: str, corrected: str) -> str:
    """What an answer says of a study, as in fleet.messages.Answer, or ``REJECTED``. ``corrected``: a category's words."""
    if corrected:
        return ANSWERS[Category(corrected)].value
    return REJECTED if judgement == Judgement.REJECT else found


def _blind(db: sa.Connection, span: Span) -> list[tuple[datetime, Answered]]:
    """Verdicts beside the first word of each model on the study: in the span in which the later of the two came."""
    earlier = observation.alias("earlier")
    first = ~sa.exists().where(
        earlier.c.StudyInstanceUID == observation.c.StudyInstanceUID,
        earlier.c.model == observation.c.model,
        earlier.c.outcome == "read",
        (earlier.c.at < observation.c.at) | ((earlier.c.at == observation.c.at) & (earlier.c.id < observation.c.id)),
    )
    ended = (
        verdict.c.at < span.end,
        observation.c.at < span.end,
        (verdict.c.at >= span.start) | (observation.c.at >= span.start),
    )
    query = (
        sa.select(observation, verdict.c.at.label("said_at"), verdict.c.category.label("said"))
        .join(verdict, verdict.c.StudyInstanceUID == observation.c.StudyInstanceUID)
        .where(*ended, observation.c.outcome == "read", first)
    )
    return [
        (max(row["said_at"], row["at"]), Answered(seen=_seen(row), said=row["said"]))
        for row in db.execute(query.order_by(verdict.c.at, verdict.c.id)).mappings()
    ]


def _seen(row: sa.RowMapping) -> Seen:
    columns = ("reading_id", "model", "device_uid", "outcome", "code", "probability", "category", "involved_share", "reading_s")
    return Seen(
        study=row["StudyInstanceUID"],
        role=Role(row["role"]),
        mode=Mode(row["mode"]),
        wait_s=row["wait_s"],
        features=row["features"],
        **{name: row[name] for name in columns},
    )
