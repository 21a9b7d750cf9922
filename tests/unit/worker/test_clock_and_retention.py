"""A clock that was set back holds up nothing, and one that was set ahead makes nothing old."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

import databases
from pneumoscope.config import Settings
from pneumoscope.records import Study
from pneumoscope.store import FolderStore, Store, arrivals, audit, commitments, now, outbox, processes, readings, studies, waits
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.files import aside_key, image_key
from pneumoscope.store.schema import arrival, commitment, delivery, process, reading, set_aside, study
from pneumoscope.worker.clock import Clock
from pneumoscope.worker.retention import Retention

UID = "1.2.826.0.1.3680043.10.7"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = databases.store(tmp_path)
    yield found
    found.database.close()


def arrived(db: sa.Connection) -> str:
    """A study that is in the queue; returns its reading."""
    one = Filed(
        study=Study(StudyInstanceUID=UID, PatientID="P1"),
        SeriesInstanceUID=f"{UID}.1",
        SOPInstanceUID=f"{UID}.1.1",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        TransferSyntaxUID="1.2.840.10008.1.2.1",
        key=image_key(UID, f"{UID}.1", f"{UID}.1.1", "0" * 64),
        sha256="0" * 64,
        size_bytes=1000,
        received_at=now(),
    )
    arrivals.file_images(db, [one])
    return studies.take(db, UID, revision=1)


@pytest.fixture
def waiting(store: Store) -> Store:
    """One of everything that waits, as noted by a clock that was three hours ahead."""
    with store.database.begin() as db:
        reading_id = arrived(db)
        outbox.post(db, reading_id, ["pacs"])
        commitments.ask(db, transaction_uid="1.2", sender="CT1", address="", items=[("1.2", "1.3")])
        process_id = processes.enter(db, "receiver")
        arrivals.open_arrival(db, process_id=process_id, channel="dicom")
        processes.bury(db, process_id)
        later = now() + timedelta(hours=3)
        for table in (reading, delivery, commitment):
            db.execute(table.update().values(due_at=later))
        db.execute(arrival.update().values(closed_at=later))
        db.execute(process.delete())
    return store


def due(store: Store) -> list[bool]:
    with store.database.look() as db:
        return [
            bool(readings.to_enqueue(db)),
            outbox.anything_due(db, process_id="", busy=(), patience=timedelta(minutes=30)),
            bool(commitments.due(db)),
            not db.execute(sa.select(arrival.c.id).where(arrivals.is_open(now()))).first(),
        ]


def test_what_waits_longer_than_any_wait_of_ours_is_due(waiting: Store) -> None:
    assert due(waiting) == [False] * 4
    Clock(waiting.database)  # as a worker starts
    assert due(waiting) == [True] * 4


def test_what_is_put_off_on_purpose_stays_so(waiting: Store) -> None:
    with waiting.database.begin() as db:
        waits.cut(db, to=timedelta(hours=4))
    assert due(waiting) == [False] * 4


def test_a_clock_that_is_set_back_makes_all_that_waits_due_and_is_noted(
    waiting: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with waiting.database.begin() as db:
        for table in (reading, delivery, commitment):
            db.execute(table.update().values(due_at=now() + timedelta(minutes=20)))
        db.execute(arrival.update().values(closed_at=now() + timedelta(minutes=20)))
    clock = Clock(waiting.database)
    clock.look()
    assert due(waiting) == [False] * 4
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 1200)
    clock.look()
    assert due(waiting) == [True] * 4
    with waiting.database.look() as db:
        assert audit.latest(db, "clock", since=now() - timedelta(days=1)) == "The clock was set back by 0:20:00."


def test_nothing_is_removed_by_age_when_the_clock_leapt_ahead(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = SimpleNamespace(settings=Settings(), store=Store(database=store.database, files=FolderStore(tmp_path / "objects")))
    retention = Retention(bench, Clock(store.database))
    with store.database.begin() as db:
        readings.close(db, arrived(db), state="refused", code="x", message="")
        db.execute(study.update().values(last_image_at=now() - timedelta(days=29)))
    retention.look()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 40 * 86400)
    monkeypatch.setattr("pneumoscope.worker.retention.now", lambda: now() + timedelta(days=40))
    retention.look()
    with store.database.look() as db:
        assert studies.get(db, UID)
    # the same age, honestly come by
    Retention(bench, Clock(store.database)).look()
    with store.database.look() as db:
        assert studies.get(db, UID) is None


def test_what_was_set_aside_and_is_of_no_study_goes_by_age(store: Store) -> None:
    retention = Retention(SimpleNamespace(settings=Settings(), store=store), Clock(store.database))
    with store.database.begin() as db:
        arrived(db)
        for name, uid in (("old", ""), ("strange", "1.2.3"), ("known", UID), ("new", "")):
            store.files.put(aside_key(name), b"x")
            facts = {"sha256": name, "size_bytes": 1, "code": "not-dicom", "message": "", "StudyInstanceUID": uid}
            arrivals.put_aside(db, aside_id=name, key=aside_key(name), **facts)
        long_ago = set_aside.update().where(set_aside.c.id != "new")
        db.execute(long_ago.values(received_at=now() - timedelta(days=31)))
    retention.look()
    with store.database.look() as db:
        left = set(db.execute(sa.select(set_aside.c.id)).scalars())
    assert left == {"known", "new"}
    assert store.files.present(map(aside_key, ("old", "strange", "known", "new"))) == {aside_key("known"), aside_key("new")}
