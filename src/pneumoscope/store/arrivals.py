"""What is brought to the node: arrivals, the objects they bring, and how these are filed."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from pneumoscope.records import Priority, Study
from pneumoscope.store import now, urgency
from pneumoscope.store.schema import (
    StudyState,
    arrival,
    expectation,
    image,
    series,
    set_aside,
    study,
)


@dataclass(frozen=True, kw_only=True)
class Filed:
    """An object that came in: its header as far as the node files by it, and where its file lies."""

    study: Study
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    TransferSyntaxUID: str
    Modality: str = ""
    SeriesDescription: str = ""
    BodyPartExamined: str = ""
    Manufacturer: str = ""
    SeriesNumber: int | None = None
    InstanceNumber: int | None = None
    Rows: int | None = None
    Columns: int | None = None
    NumberOfFrames: int | None = None
    key: str
    sha256: str
    size_bytes: int
    received_at: datetime
    arrival_id: str = ""
    reading_id: str = ""  # where it is a result of ours
    result: bool = False  # of an installation like ours: alone it makes no study that waits to be read
    readable: bool = True  # False: it comes with images, and causes no reading of a study that is known
    priority: int = Priority.ROUTINE


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of an object's UID: the digest and file of the one that came first."""

    sha256: str
    key: str
    own: bool
    SOPClassUID: str


def open_arrival(db: sa.Connection, *, process_id: str, channel: str, sender: str = "", address: str = "") -> str:
    """Someone begins to bring objects; until ``close_arrival`` their studies are not complete."""
    arrival_id = str(uuid.uuid4())
    db.execute(
        arrival.insert().values(
            id=arrival_id, process_id=process_id, channel=channel, sender=sender, address=address, opened_at=now()
        )
    )
    return arrival_id


def owners(db: sa.Connection, arrival_ids: Sequence[str]) -> dict[str, str]:
    """Which process each of these arrivals belongs to."""
    query = sa.select(arrival.c.id, arrival.c.process_id).where(arrival.c.id.in_(arrival_ids))
    return {row.id: row.process_id for row in db.execute(query)}


def close_arrival(db: sa.Connection, arrival_id: str, *, linger_s: float = 0.0) -> None:
    """Everything of this arrival is filed; for ``linger_s`` its studies wait for another one that follows it."""
    moment = now()
    closed_at = moment + timedelta(seconds=linger_s)
    db.execute(arrival.update().where(arrival.c.id == arrival_id, is_open(moment)).values(closed_at=closed_at))


def is_open(moment: datetime) -> sa.ColumnElement[bool]:
    """Of an arrival: whether more may come of it."""
    return arrival.c.closed_at.is_(None) | (arrival.c.closed_at > moment)


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What one arrival brought of a study."""

    arrival_id: str
    channel: str
    images: int
    size_bytes: int
    first_at: datetime
    last_at: datetime
    closed_at: datetime | None


def brought(db: sa.Connection, StudyInstanceUID: str, *, after: datetime | None, until: datetime) -> list[Brought]:
    """Which arrivals brought images of a study, received ``after`` a moment and ``until`` another, the first one first."""
    first_at = sa.func.min(image.c.received_at)
    query = (
        sa.select(
            arrival.c.id.label("arrival_id"),
            arrival.c.channel,
            arrival.c.closed_at,
            sa.func.count().label("images"),
            sa.func.sum(image.c.size_bytes).label("size_bytes"),
            first_at.label("first_at"),
            sa.func.max(image.c.received_at).label("last_at"),
        )
        .join(arrival, arrival.c.id == image.c.arrival_id)
        .where(image.c.StudyInstanceUID == StudyInstanceUID, image.c.received_at <= until)
        .where(*(() if after is None else (image.c.received_at > after,)))
        .group_by(arrival.c.id, arrival.c.channel, arrival.c.closed_at)
        .order_by(first_at)
    )
    return [Brought(**{**row, "size_bytes": int(row["size_bytes"])}) for row in db.execute(query).mappings()]


def known(db: sa.Connection, SOPInstanceUIDs: Sequence[str]) -> dict[str, Known]:
    """Which of these objects are filed already."""
    columns = (image.c.SOPInstanceUID, image.c.sha256, image.c.key, image.c.reading_id, image.c.SOPClassUID)
    rows = db.execute(sa.select(*columns).where(image.c.SOPInstanceUID.in_(SOPInstanceUIDs)))
    return {
        uid: Known(sha256=sha256, key=key, own=bool(reading_id), SOPClassUID=SOPClassUID)
        for uid, sha256, key, reading_id, SOPClassUID in rows
    }


def file_images(db: sa.Connection, objects: Iterable[Filed]) -> set[str]:
    """File objects whose files are in place; those whose UID is known already change nothing. Returns the UIDs that are new.

    A study's revision grows by one for every call that brings it something new that is not a result of ours.
    """
    found: dict[str, Filed] = {}
    for item in objects:
        found.setdefault(item.SOPInstanceUID, item)
    # a study that is just being removed is waited for, and then begins anew with what came
    ours = study.c.StudyInstanceUID.in_({_study_of(item) for item in found.values()})
    db.execute(sa.select(study.c.StudyInstanceUID).where(ours).order_by(study.c.StudyInstanceUID).with_for_update())
    new = _insert_new(db, image, [_row(image, item) for item in found.values()])
    fresh = [item for uid, item in found.items() if uid in new]
    firsts = {item.SeriesInstanceUID: item for item in reversed(fresh)}
    _insert_new(db, series, [_row(series, item) for item in firsts.values()])
    fresh.sort(key=_study_of)
    for _, items in groupby(fresh, key=_study_of):
        _touch_study(db, list(items))
    return new


def _study_of(item: Filed) -> str:
    return item.study.StudyInstanceUID


def _row(table: sa.Table, item: Filed) -> dict[str, object]:
    return {column.name: _value(item, column.name) for column in table.columns}


def _value(item: Filed, name: str) -> object:
    if name == "StudyInstanceUID":
        return item.study.StudyInstanceUID
    value = getattr(item, name)
    return None if name in ("arrival_id", "reading_id") and not value else value


def _insert_new(db: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> set[str]:
    """Insert the rows whose key is not there; returns the keys of these.

    In the order of their keys: two processes that insert the same wait for one another, and never in a circle.
    """
    from sqlalchemy.dialects import postgresql, sqlite

    if not rows:
        return set()
    dialect = sqlite if db.dialect.name == "sqlite" else postgresql
    (key,) = table.primary_key.columns
    statement = dialect.insert(table).on_conflict_do_nothing().returning(key)
    return set(db.execute(statement, sorted(rows, key=lambda row: str(row[key.name]))).scalars())


def _touch_study(db: sa.Connection, items: list[Filed]) -> None:
    source = [item for item in items if not item.reading_id and item.readable]
    first, last = min(item.received_at for item in items), max(item.received_at for item in items)
    size_bytes = sum(item.size_bytes for item in items)
    uid = items[0].study.StudyInstanceUID
    row = db.execute(sa.select(study).where(study.c.StudyInstanceUID == uid)).mappings().first()
    if row is None:
        values = {
            **vars(items[0].study),
            "state": StudyState.ARRIVING,
            "priority": min(item.priority for item in items),
            "revision": 0 if all(item.reading_id or item.result for item in items) else 1,
            "first_image_at": first,
            "last_image_at": last,
            "size_bytes": size_bytes,
        }
        values["rank"] = urgency.rank(state=values["state"], priority=values["priority"])
        if _insert_new(db, study, [values]):
            return
        row = db.execute(sa.select(study).where(study.c.StudyInstanceUID == uid)).mappings().one()
    changes: dict[str, Any] = {"size_bytes": study.c.size_bytes + size_bytes}
    if source:
        pause_s = (first - row["last_image_at"]).total_seconds()
        changes |= {
            "revision": study.c.revision + 1,
            "priority": min(row["priority"], *(item.priority for item in source)),
            "last_image_at": max(last, row["last_image_at"]),
        }
        # a pause after a reading was taken is not how the sender sends, but new work of the scanner
        if row["taken_revision"] < row["revision"]:
            changes["longest_pause_s"] = max(row["longest_pause_s"], pause_s)
    db.execute(study.update().where(study.c.StudyInstanceUID == uid).values(**changes))
    if changes.get("priority", row["priority"]) != row["priority"]:
        urgency.refresh(db, uid)


def put_aside(  # noqa: PLR0913 - each is a column
    db: sa.Connection,
    *,
    aside_id: str,
    key: str,
    sha256: str,
    size_bytes: int,
    code: str,
    message: str,
    StudyInstanceUID: str = "",
    SOPInstanceUID: str = "",
    arrival_id: str = "",
) -> bool:
    """Keep an object that cannot be filed, with its reason; False where one with the same content lies there already."""
    twin = sa.select(set_aside.c.id).where(set_aside.c.sha256 == sha256, set_aside.c.SOPInstanceUID == SOPInstanceUID)
    if db.execute(twin).first():
        return False
    db.execute(
        set_aside.insert().values(
            id=aside_id,
            key=key,
            sha256=sha256,
            size_bytes=size_bytes,
            code=code,
            message=message,
            StudyInstanceUID=StudyInstanceUID,
            SOPInstanceUID=SOPInstanceUID,
            arrival_id=arrival_id,
            received_at=now(),
        )
    )
    return True


def expect(db: sa.Connection, StudyInstanceUID: str, *, images: int | None, source: str) -> None:
    """Note how many images a study should have, as ``source`` (mpps, ian, find, qido) says; the last word counts."""
    db.execute(expectation.delete().where(expectation.c.StudyInstanceUID == StudyInstanceUID))
    db.execute(expectation.insert().values(StudyInstanceUID=StudyInstanceUID, images=images, source=source, at=now()))
