"""The parts of a reading's trace that are known afterwards: how its images came, what the reader did, and the whole."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pneumoscope import tracing
from pneumoscope.records import Priority
from pneumoscope.store import arrivals, readings
from pneumoscope.store.arrivals import Brought
from pneumoscope.store.database import Database
from pneumoscope.store.schema import ReadingState

#: What becomes of an attempt without being a fault of it.
_GOOD = ("read", "preempted")


def tell_reading(span: tracing.Span, answer: dict[str, Any]) -> None:
    """What the reader did, stage by stage, or why it did not."""
    outcome = answer["outcome"]
    span.attributes["outcome"] = outcome
    if outcome not in _GOOD:
        span.code = answer.get("code") or f"reader-{outcome}"
    if "summary" in answer:
        span.attributes["model"] = answer["summary"]["model"]
    for stage, began_s, ended_s in answer.get("stages", ()):
        span.parts.append((stage, datetime.fromtimestamp(began_s, tz=UTC), datetime.fromtimestamp(ended_s, tz=UTC)))


def tell_whole(database: Database, reading_id: str) -> None:
    """A reading that is over as one span, and how its images came: told from rows, since before it is due it has no id.

    Told again after a crash, it is the same.
    """
    if not tracing.is_traced(reading_id):
        return
    row, came = database.insist(lambda db: _rows(db, reading_id))
    if row is None or row["finished_at"] is None:
        return
    for one in came:
        _tell_arrival(reading_id, one)
    created_at = row["created_at"]
    closed_at = max((one.closed_at for one in came if one.closed_at), default=created_at)
    tracing.note(reading_id, "complete", min(closed_at, created_at), created_at, key="")
    failed = row["state"] in (ReadingState.REFUSED, ReadingState.FAILED)
    tracing.note(
        reading_id,
        tracing.ROOT,
        min((one.first_at for one in came), default=created_at),
        row["finished_at"],
        {
            "outcome": row["state"],
            "version": row["version"],
            "attempts": row["attempts"],
            "priority": Priority(row["priority"]).name.lower(),
            "images": sum(one.images for one in came),
            "model": row["model"],
        },
        key="",
        code=row["code"] if failed else "",
    )


def _rows(db: sa.Connection, reading_id: str) -> tuple[sa.RowMapping | None, list[Brought]]:
    row = readings.find(db, reading_id)
    if row is None:
        return None, []
    earlier = [one["created_at"] for one in readings.versions(db, row["StudyInstanceUID"]) if one["version"] < row["version"]]
    after = max(earlier, default=None)
    return row, arrivals.brought(db, row["StudyInstanceUID"], after=after, until=row["created_at"])


def _tell_arrival(reading_id: str, one: Brought) -> None:
    what: dict[str, tracing.Value] = {"channel": one.channel, "images": one.images, "size_bytes": one.size_bytes}
    tracing.note(reading_id, "receive", one.first_at, one.last_at, what, key=one.arrival_id)
    if one.closed_at:
        tracing.note(
            reading_id, "file", one.last_at, max(one.last_at, one.closed_at), {"images": one.images}, key=one.arrival_id
        )
