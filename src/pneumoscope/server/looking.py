"""What pages and programs are told of studies."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from pneumoscope.store import outbox, readings, reviews, studies
from pneumoscope.store.schema import StudyState, delivery, study
from pneumoscope.store.schema import audit as audit_table

NEWEST = 200


def newest(db: sa.Connection, *, state: str = "") -> list[dict[str, Any]]:
    """Studies with their latest reading and the last delivery to each destination, the last to arrive first."""
    states = (state,) if state in list(StudyState) else ()
    rows = [dict(row) for row in studies.newest(db, limit=NEWEST, states=states)]
    sent = last_deliveries(db, [row["reading_id"] for row in rows if row["reading_id"]])
    return [row | {"deliveries": sent.get(row["reading_id"], [])} for row in rows]


def whole(db: sa.Connection, row: sa.RowMapping) -> dict[str, Any]:
    """One study with everything that belongs to it."""
    uid = row["StudyInstanceUID"]
    found = _standing(db, row)
    for reading in found["readings"]:
        reading["results"] = readings.parcels(db, reading["id"])
    return found | {"audit": _audit_of(db, uid)}


def mark(db: sa.Connection, row: sa.RowMapping) -> str:
    """Changes when anything of a study changes that its page shows."""
    found = _standing(db, row)
    states = [
        (reading["id"], reading["state"], reading["attempts"], *((sent["id"], sent["state"]) for sent in reading["deliveries"]))
        for reading in found["readings"]
    ]
    shown = repr((row["state"], row["revision"], states, len(found["aside"])))
    return sha256(shown.encode()).hexdigest()[:16]


def _standing(db: sa.Connection, row: sa.RowMapping) -> dict[str, Any]:
    """A study, its readings and their deliveries, and what was set aside."""
    uid = row["StudyInstanceUID"]
    versions = [
        dict(reading)
        | {
            "deliveries": [dict(found) for found in outbox.of_reading(db, reading["id"])],
            "answers": answers(db, reading["id"]),
            "superseded": place > 0,  # by a version of later images, or of another reading, whatever became of that
        }
        for place, reading in enumerate(readings.versions(db, uid))
    ]
    return {"study": dict(row), "readings": versions, "aside": [dict(found) for found in studies.aside_of(db, uid)]}


def answers(db: sa.Connection, reading_id: str) -> list[dict[str, Any]]:
    """What people answered to a reading, the last first, each answer with the deliveries of what it was made into."""
    sent: dict[str, list[dict[str, Any]]] = {}
    for row in outbox.of_reading(db, reading_id, of_reviews=True):
        sent.setdefault(row["review_id"], []).append(dict(row))
    return [dict(row) | {"deliveries": sent.get(row["id"], [])} for row in reviews.of_reading(db, reading_id)]


def counts(db: sa.Connection) -> dict[str, int]:
    """How many studies there are in each state."""
    rows = db.execute(sa.select(study.c.state, sa.func.count()).group_by(study.c.state)).all()
    found = {str(state): int(number) for state, number in rows}
    return {str(state): found.get(state, 0) for state in StudyState}


def last_deliveries(db: sa.Connection, reading_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The last delivery to each destination, by reading."""
    which = (delivery.c.reading_id.in_(reading_ids), delivery.c.review_id == "")
    query = sa.select(delivery).where(*which).order_by(delivery.c.destination, delivery.c.round)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in db.execute(query).mappings():
        found.setdefault(row["reading_id"], {})[row["destination"]] = dict(row)  # the last round stays
    return {reading_id: list(by_destination.values()) for reading_id, by_destination in found.items()}


def _audit_of(db: sa.Connection, uid: str) -> list[dict[str, Any]]:
    query = sa.select(audit_table).where(audit_table.c.StudyInstanceUID == uid).order_by(audit_table.c.id.desc()).limit(50)
    return [dict(row) for row in db.execute(query).mappings()]
