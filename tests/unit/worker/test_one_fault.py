"""One study, delivery or work item that provokes a fault nobody foresaw holds up no other, and people learn of it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import DBOS
from sqlalchemy.exc import OperationalError

import databases
from pneumoscope.config import Settings
from pneumoscope.errors import RetryLater
from pneumoscope.loops import Apart
from pneumoscope.records import Category, Study
from pneumoscope.store import Database, Store, arrivals, now, outbox, readings, studies
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.files import image_key
from pneumoscope.store.readings import StoredParcel, Summary
from pneumoscope.store.schema import delivery, image, study
from pneumoscope.worker.clerk import Clerk
from pneumoscope.worker.clock import Clock
from pneumoscope.worker.posting import Posting
from pneumoscope.worker.retention import Retention
from pneumoscope.worker.workflow import MAX_ATTEMPTS, Bench
from pneumoscope.worker.worklist import Worklist
from servers import wait_for

ROOT = "1.2.826.0.1.3680043.10.8"
BAD, GOOD = f"{ROOT}.1", f"{ROOT}.2"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = databases.store(tmp_path)
    yield found
    found.database.close()


def arrive(store: Store, uid: str, *, key: str = "", images: int = 1) -> None:
    """A study of one image, of which its sender said how many images there are."""
    one = Filed(
        study=Study(StudyInstanceUID=uid, PatientID="P1"),
        SeriesInstanceUID=f"{uid}.1",
        SOPInstanceUID=f"{uid}.1.{images}",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        TransferSyntaxUID="1.2.840.10008.1.2.1",
        key=key or image_key(uid, f"{uid}.1", f"{uid}.1.{images}", "0" * 64),
        sha256="0" * 64,
        size_bytes=1000,
        received_at=now() - timedelta(days=1),
    )
    with store.database.begin() as db:
        arrivals.file_images(db, [one])
        if not key:
            arrivals.expect(db, uid, images=images, source="mpps")


def bench(store: Store, **sections: object) -> Bench:
    reader: Any = SimpleNamespace(model_title="lung-lesion 1.0.0", stopping=False)
    return Bench(settings=Settings(**sections), store=store, process_id="worker-1", reader=reader)


def state(store: Store, uid: str) -> tuple[str, str]:
    with store.database.look() as db:
        row = studies.get(db, uid)
    return row["state"], row["code"]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[None]:
    """A queue that nobody serves."""
    DBOS(config={"name": "pneumoscope", "system_database_url": f"sqlite:///{tmp_path / 'queue.sqlite'}", "log_level": "ERROR"})
    DBOS.launch()
    yield
    DBOS.destroy()


def test_a_study_that_cannot_be_judged_is_shown_as_failed_and_holds_up_no_other(store: Store, queue: None) -> None:
    arrive(store, BAD, key="no/../key")  # such as no code of ours writes
    arrive(store, GOOD)
    clerk = Clerk(bench(store, arrival={"quiet_s": 10 * 86400}))
    clerk.look()
    assert (state(store, GOOD), state(store, BAD)) == (("waiting", ""), ("failed", "bug"))
    with store.database.look() as db:
        (failed,) = readings.versions(db, BAD)
        assert "ValueError" in failed["message"] and not studies.arriving(db)
        assert readings.versions(db, GOOD)[0]["workflow_id"]
    clerk.look()
    with store.database.begin() as db:
        assert len(readings.versions(db, BAD)) == 1
        asked_for = studies.read_again(db, BAD)
    clerk.look()
    with store.database.look() as db:
        assert readings.get(db, asked_for)["workflow_id"]
    arrive(store, BAD, images=2)  # more of it has come, and its sender told that this is all
    clerk.look()
    assert state(store, BAD) == ("waiting", "")


def test_a_reading_that_cannot_be_queued_waits_and_is_shown_as_failed_in_the_end(store: Store, queue: None) -> None:
    class Faulty(Database):
        """Of which one row cannot be changed."""

        def insist(self, work: Callable[[sa.Connection], Any], *, patience_s: float = 600) -> Any:
            with self.begin() as db:
                work(db)
                if any(row["workflow_id"] for row in readings.versions(db, BAD)):
                    raise ValueError

    store = Store(database=Faulty(store.database.url), files=store.files)
    for uid in (BAD, GOOD):
        arrive(store, uid)
    Clerk(bench(store)).look()
    with store.database.look() as db:
        assert readings.versions(db, GOOD)[0]["workflow_id"]
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with store.database.begin() as db:
            (row,) = readings.versions(db, BAD)
            assert (row["state"], row["attempts"]) == ("waiting", attempt - 1)
            if attempt > 1:
                assert (row["code"], row["due_at"] > now()) == ("bug", True)
            db.execute(readings.reading.update().values(due_at=now()))
        Clerk(bench(store)).look()
    assert state(store, BAD) == ("failed", "bug")


def read(store: Store, uid: str, tmp_path: Path) -> str:
    """A study that was read, with a result to be sent to two destinations."""
    arrive(store, uid)
    store.files.put(f"readings/{uid}/reading.json", b"{}")
    summary = Summary(
        probability=0.1, category=Category.NO_SIGN, headline="", involved_share=0.0, model="lung-lesion 1.0.0", device_uid="1.2"
    )
    with store.database.begin() as db:
        reading_id = studies.take(db, uid, revision=1)
        assert reading_id
        stored = StoredParcel(
            name="reading.json", media_type="application/json", key=f"readings/{uid}/reading.json", size_bytes=2
        )
        readings.finish(db, reading_id, summary=summary, parcels=[stored])
        outbox.post(db, reading_id, ["one", "other"])
    return reading_id


def test_a_delivery_that_could_not_be_noted_is_made_again(store: Store, tmp_path: Path) -> None:
    class Faulty(Database):
        """That fails for once when a delivery is noted."""

        faults = 1

        def insist(self, work: Callable[[sa.Connection], Any], *, patience_s: float = 600) -> Any:
            if self.faults and list((tmp_path / "one").iterdir()):
                self.faults = 0
                raise ValueError
            return super().insist(work, patience_s=patience_s)

    store = Store(database=Faulty(store.database.url), files=store.files)
    places = [{"kind": "folder", "name": name, "path": tmp_path / name} for name in ("one", "other")]
    for place in places:
        place["path"].mkdir()
    read(store, GOOD, tmp_path)
    posting = Posting(bench(store, destinations=tuple(places)))

    def states() -> dict[str, tuple[str, str]]:
        with store.database.begin() as db:
            db.execute(delivery.update().values(due_at=now()))
            return {row["destination"]: (row["state"], row["code"]) for row in db.execute(sa.select(delivery)).mappings()}

    def all_delivered() -> bool:
        posting.look()
        return {state for state, _ in states().values()} == {"delivered"}

    posting.look()
    wait_for(all_delivered, seconds=30, what="both deliveries")
    with store.database.look() as db:
        assert sorted(row["attempts"] for row in db.execute(sa.select(delivery)).mappings()) == [1, 2]


def test_a_study_that_cannot_be_removed_keeps_no_other(store: Store) -> None:
    for uid in (BAD, GOOD):
        arrive(store, uid)
        with store.database.begin() as db:
            reading_id = studies.take(db, uid, revision=1)
            readings.close(db, reading_id, state=readings.ReadingState.REFUSED, code="not-ct", message="")
            db.execute(study.update().values(last_image_at=now() - timedelta(days=10_000)))
    with store.database.begin() as db:
        db.execute(image.update().where(image.c.StudyInstanceUID == BAD).values(key="no/../key"))
    Retention(bench(store), Clock(store.database)).look()
    with store.database.look() as db:
        assert (studies.get(db, GOOD), studies.get(db, BAD)["state"]) == (None, "refused")


def test_a_reading_that_cannot_be_listed_keeps_no_other_from_it(store: Store) -> None:
    class Faulty(Worklist):
        def _show(self, db: sa.Connection, reading_id: str) -> None:
            if readings.get(db, reading_id)["StudyInstanceUID"] == BAD:
                raise ValueError
            super()._show(db, reading_id)

    for uid in (BAD, GOOD):
        arrive(store, uid)
        with store.database.begin() as db:
            studies.take(db, uid, revision=1)
    Faulty(bench(store)).look()
    with store.database.look() as db:
        assert {row["StudyInstanceUID"] for row in readings.unlisted(db)} == {BAD}


def test_what_is_of_the_machine_is_raised_and_what_is_of_one_thing_is_met_once() -> None:
    told, tried = [], []
    apart = Apart("test")

    def work(name: str) -> None:
        tried.append(name)
        if name in ("bug", "away"):
            raise ValueError if name == "bug" else RetryLater("")

    with pytest.raises(RetryLater):
        apart.each(["bug", "away", "good"], work, key=str, faulty=lambda item, fault: told.append((item, type(fault))))
    assert (tried, told) == (["bug", "away", "good"], [("bug", ValueError)])
    apart.each(["bug", "good"], work, key=str)
    assert tried[3:] == ["good"]

    def database(_name: str) -> None:
        tried.append("")
        raise OperationalError("", None, Exception())

    with pytest.raises(OperationalError):
        apart.each(["one", "other"], database, key=str)
    assert tried[4:] == [""]
