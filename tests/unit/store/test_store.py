"""What the node remembers, on both databases: nothing is taken twice, nothing undelivered goes, the audit trail stays."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydicom.uid import Comprehensive3DSRStorage

from pneumoscope.records import Predecessor, Priority, Study, is_uid
from pneumoscope.store import (
    Database,
    FolderStore,
    arrivals,
    audit,
    meetings,
    now,
    outbox,
    processes,
    readings,
    retention,
    studies,
)
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.database import newest
from pneumoscope.store.files import image_key
from pneumoscope.store.fleet_schema import service_act  # noqa: F401 - its tables belong to the metadata
from pneumoscope.store.hub_schema import site  # noqa: F401 - its tables belong to the metadata
from pneumoscope.store.pool_schema import pool_task  # noqa: F401 - its tables belong to the metadata
from pneumoscope.store.readings import StoredParcel
from pneumoscope.store.schema import DeliveryState, ReadingState, StudyState, metadata

UID = "1.2.826.0.1.3680043.10.7"


def filed(
    number: int, *, study: str = UID, priority: Priority = Priority.ROUTINE, reading_id: str = "", arrival_id: str = ""
) -> Filed:
    return Filed(
        study=Study(StudyInstanceUID=study, PatientID="P1"),
        SeriesInstanceUID=f"{study}.1",
        SOPInstanceUID=f"{study}.1.{number}",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        TransferSyntaxUID="1.2.840.10008.1.2.1",
        Modality="CT",
        key=image_key(study, f"{study}.1", f"{study}.1.{number}", f"{number:064d}"),
        sha256=f"{number:064d}",
        size_bytes=1000,
        received_at=now(),
        arrival_id=arrival_id,
        reading_id=reading_id,
        priority=priority,
    )


def summary() -> readings.Summary:
    return readings.Summary(
        probability=0.5, category="indeterminate", headline="So so.", involved_share=0.1, model="m 1", device_uid="2.25.1"
    )


def arrive(database: Database, *numbers: int, study: str = UID) -> None:
    with database.begin() as db:
        arrivals.file_images(db, [filed(n, study=study) for n in numbers])


def take(database: Database, study: str = UID) -> str:
    with database.begin() as db:
        row = studies.get(db, study)
        assert row is not None
        taken = studies.take(db, study, revision=row["revision"])
    assert taken
    return taken


def test_the_migrations_make_the_schema_that_the_code_has(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == newest()


def test_images_that_are_known_change_nothing(database: Database) -> None:
    arrive(database, 1, 2)
    with database.look() as db:
        before = dict(studies.get(db, UID) or {})
    arrive(database, 2, 1)
    with database.look() as db:
        assert dict(studies.get(db, UID) or {}) == before
        assert before["revision"] == 1
        assert before["size_bytes"] == 2000


def test_a_study_is_not_complete_while_its_arrival_is_open(database: Database) -> None:
    with database.begin() as db:
        process_id = processes.enter(db, "receiver")
        arrival_id = arrivals.open_arrival(db, process_id=process_id, channel="dicom", sender="CT1")
        arrivals.file_images(db, [filed(1, arrival_id=arrival_id)])
        assert [study.open_arrivals for study in studies.arriving(db)] == [1]
        arrivals.close_arrival(db, arrival_id)
        assert [study.open_arrivals for study in studies.arriving(db)] == [0]


@pytest.mark.parametrize("grace", [timedelta(seconds=10), timedelta(0)])
def test_what_a_dead_receiver_left_is_waited_for_and_not_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch, grace: timedelta
) -> None:
    monkeypatch.setattr(processes, "GRACE", grace)
    with database.begin() as db:
        process_id = processes.enter(db, "receiver")
        arrival_id = arrivals.open_arrival(db, process_id=process_id, channel="dicom", sender="CT1")
        arrivals.file_images(db, [filed(1, arrival_id=arrival_id)])
        assert processes.bury(db, process_id)
        # its spool may hold more of the study: another receiver files that, and closes the arrival
        assert [study.open_arrivals for study in studies.arriving(db)] == [int(bool(grace))]
        arrivals.close_arrival(db, arrival_id)
        assert [study.open_arrivals for study in studies.arriving(db)] == [0]


def test_a_study_is_taken_once_by_many_workers(database: Database) -> None:
    arrive(database, 1)
    taken: list[str | None] = []

    def try_to_take() -> None:
        with database.begin() as db:
            taken.append(studies.take(db, UID, revision=1))

    threads = [threading.Thread(target=try_to_take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(reading_id is not None for reading_id in taken) == 1


def test_images_that_come_late_make_a_new_version_which_is_what_the_study_shows(database: Database) -> None:
    arrive(database, 1)
    first = take(database)
    arrive(database, 2)
    second = take(database)
    with database.begin() as db:
        readings.start(db, second, process_id="w")
        readings.finish(db, second, summary=summary(), parcels=[])
        readings.start(db, first, process_id="w")
        readings.close(db, first, state=ReadingState.REFUSED, code="too-few-slices", message="Too few.")
        row = studies.get(db, UID)
        assert row is not None
        assert row["state"] == StudyState.READ
        assert [reading["version"] for reading in readings.versions(db, UID)] == [2, 1]


def test_a_later_version_knows_which_one_it_replaces(database: Database) -> None:
    arrive(database, 1)
    first, reports = take(database), {}
    for number in (2, 3, 4):
        arrive(database, number)
        reports[number] = take(database)
    with database.begin() as db:
        assert readings.predecessor(db, first) is None
        readings.close(db, reports[3], state=ReadingState.REFUSED, code="too-few-slices", message="Too few.")
        for number, reading_id in ((91, first), (92, reports[2])):
            readings.start(db, reading_id, process_id="w")
            report = replace(filed(number, reading_id=reading_id), SOPClassUID=Comprehensive3DSRStorage)
            kept = StoredParcel(
                name="sr.dcm", media_type="application/dicom", key="k", size_bytes=1, SOPInstanceUID=report.SOPInstanceUID
            )
            readings.finish(db, reading_id, summary=summary(), parcels=[kept])
            answer = replace(report, SOPInstanceUID=filed(number + 200).SOPInstanceUID, key="answer")
            readings.add_parcels(
                db, reading_id, [replace(kept, SOPInstanceUID=answer.SOPInstanceUID)], review_id=f"review-{number}"
            )
            arrivals.file_images(db, [answer])
            arrivals.file_images(db, [report, filed(number + 100, reading_id=reading_id)])
        last = readings.predecessor(db, reports[4])  # the third was refused and leaves nothing to replace
        assert last == Predecessor(
            made_at=readings.get(db, reports[2])["created_at"],
            device_uid="2.25.1",
            SeriesInstanceUID=filed(92).SeriesInstanceUID,
            SOPInstanceUID=filed(92).SOPInstanceUID,
        )
        earlier = readings.predecessor(db, reports[2])
        assert earlier is not None
        assert earlier.SOPInstanceUID == filed(91).SOPInstanceUID


def test_results_of_ours_cause_no_reading(database: Database) -> None:
    arrive(database, 1)
    reading_id = take(database)
    with database.begin() as db:
        arrivals.file_images(db, [filed(99, reading_id=reading_id)])
        assert studies.arriving(db) == []
        assert studies.source_keys(db, UID) == [filed(1).key]


def test_a_reading_ends_once(database: Database) -> None:
    arrive(database, 1)
    reading_id = take(database)
    with database.begin() as db:
        assert readings.start(db, reading_id, process_id="a") == 1
        assert readings.start(db, reading_id, process_id="b") == 2  # taken over
        assert readings.finish(db, reading_id, summary=summary(), parcels=[])
        assert not readings.finish(db, reading_id, summary=summary(), parcels=[])
        assert not readings.close(db, reading_id, state=ReadingState.FAILED, code="x", message="x")
        assert readings.start(db, reading_id, process_id="c") == 0


def test_a_delivery_is_claimed_once_postponed_and_goes_out(database: Database) -> None:
    arrive(database, 1)
    reading_id = take(database)
    with database.begin() as db:
        outbox.post(db, reading_id, ["pacs", "fhir"])
        outbox.post(db, reading_id, ["pacs", "fhir"])  # posted twice, by a step that was repeated
        assert len(outbox.of_reading(db, reading_id)) == 2
        (row,) = outbox.claim(db, process_id="w1", busy=["fhir"])
        assert row["destination"] == "pacs"
        assert [r["destination"] for r in outbox.claim(db, process_id="w2", busy=[])] == ["fhir"]
        outbox.settle(db, row["id"], state=DeliveryState.PENDING)
        due_at = outbox.postpone(db, row["id"], code="no-commitment", message="None came.")
        assert due_at is not None and due_at > now()
        assert outbox.claim(db, process_id="w1", busy=[]) == []


def test_the_answer_to_a_commitment_may_come_before_the_sending_is_over(database: Database) -> None:
    arrive(database, 1)
    reading_id = take(database)
    with database.begin() as db:
        outbox.post(db, reading_id, ["pacs"])
        (row,) = outbox.claim(db, process_id="w1", busy=[])
        assert outbox.answer(db, row["transaction_uid"], committed=True)
        outbox.settle(db, row["id"], state=DeliveryState.PENDING)
        assert outbox.get(db, row["id"])["state"] == DeliveryState.CONFIRMED
        assert not outbox.answer(db, row["transaction_uid"], committed=False)  # told twice


def test_what_is_not_vouched_for_is_sent_again(database: Database) -> None:
    arrive(database, 1)
    reading_id = take(database)
    with database.begin() as db:
        outbox.post(db, reading_id, ["pacs"])
        (row,) = outbox.claim(db, process_id="w1", busy=[])
        outbox.settle(db, row["id"], state=DeliveryState.PENDING)
        assert outbox.answer(db, row["transaction_uid"], committed=False)
        again = outbox.get(db, row["id"])
        assert (again["state"], again["code"]) == (DeliveryState.WAITING, "not-committed")


def test_what_a_dead_process_was_sending_is_sent_by_another(database: Database) -> None:
    arrive(database, 1)
    reading_id = take(database)
    with database.begin() as db:
        outbox.post(db, reading_id, ["pacs"])
        assert outbox.claim(db, process_id="dead", busy=[])
        assert outbox.release(db, "dead") == 1
        assert len(outbox.claim(db, process_id="alive", busy=[])) == 1


def test_a_resend_stands_beside_what_it_repeats(database: Database) -> None:
    arrive(database, 1)
    reading_id = take(database)
    with database.begin() as db:
        outbox.post(db, reading_id, ["pacs"])
        (row,) = outbox.of_reading(db, reading_id)
        outbox.stop(db, row["id"], code="peer-refused", message="It refuses.")
        outbox.resend(db, row["id"])
        rounds = {row["round"]: row["state"] for row in outbox.of_reading(db, reading_id)}
    assert rounds == {1: DeliveryState.STOPPED, 2: DeliveryState.WAITING}


def test_nothing_undelivered_is_ever_removed(database: Database) -> None:
    arrive(database, 1)
    later = now() + timedelta(days=99)
    with database.look() as db:
        assert retention.removable(db, before=later, limit=9) == []  # not read yet
    reading_id = take(database)
    with database.begin() as db:
        readings.start(db, reading_id, process_id="w")
        readings.finish(
            db, reading_id, summary=summary(), parcels=[readings.StoredParcel(name="a", media_type="b", key="c", size_bytes=1)]
        )
        outbox.post(db, reading_id, ["pacs"])
        assert retention.removable(db, before=later, limit=9) == []
        assert retention.remove(db, UID) == []
        (row,) = outbox.of_reading(db, reading_id)
        outbox.stop(db, row["id"], code="x", message="x")
        assert retention.removable(db, before=later, limit=9) == []  # an operator may still send it
        outbox.resend(db, row["id"])
        for each in outbox.claim(db, process_id="w", busy=[]):
            outbox.settle(db, each["id"], state=DeliveryState.DELIVERED)
        outbox_states = {each["state"] for each in outbox.of_reading(db, reading_id)}
        assert outbox_states == {DeliveryState.STOPPED, DeliveryState.DELIVERED}
        assert retention.removable(db, before=later, limit=9) == [UID]
        assert sorted(retention.remove(db, UID)) == ["c", filed(1).key]
        assert studies.get(db, UID) is None


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"])
def test_the_audit_trail_is_only_ever_added_to(database: Database, statement: str) -> None:
    with database.begin() as db:
        audit.record(db, action="view", actor="someone", StudyInstanceUID=UID)
    with pytest.raises(sa.exc.DatabaseError, match="only ever added to"), database.begin() as db:
        db.execute(sa.text(statement))
    with database.look() as db:
        assert [entry["actor"] for entry in audit.entries(db)] == ["someone"]


def test_work_waits_for_a_database_that_is_away_and_gives_up_in_the_end(tmp_path: Path) -> None:
    nowhere = Database("postgresql+psycopg://node@127.0.0.1:1/x")
    with pytest.raises(sa.exc.OperationalError):
        nowhere.insist(lambda db: db.execute(sa.text("SELECT 1")), patience_s=0.5)


@pytest.mark.parametrize("text", ["", ".", "1..2", "../1", "1.2/3", "1.a", "1" * 65, "1.2\n", "1.2 "])
def test_what_is_no_uid_never_touches_a_path(tmp_path: Path, text: str) -> None:
    assert not is_uid(text)
    with pytest.raises(ValueError, match="UID"):
        image_key("1.2", "1.3", text, "0" * 64)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../b", "a//b", ".hidden", "a/b\\c", "a/\x00"])
def test_a_key_cannot_leave_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        FolderStore(tmp_path).path(key)


def test_a_meeting_is_found_by_its_whole_link_until_its_host_ends_it_or_its_time_is_over(database: Database) -> None:
    with database.begin() as db:
        first = meetings.begin(db, UID, host="kim", longest=timedelta(hours=1))
        other = meetings.begin(db, UID, host="lee", longest=timedelta(hours=1))
        over = meetings.begin(db, UID, host="han", longest=timedelta(0))
        found = meetings.find(db, first.id, invite=first.invite)
        assert (found["StudyInstanceUID"], found["host"]) == (UID, "kim")
        assert first.invite not in str(dict(found))
        assert meetings.find(db, first.id, invite=other.invite) is None
        assert meetings.find(db, over.id, invite=over.invite) is None
        assert meetings.end(db, over.id, host="han") is None
        assert meetings.end(db, first.id, host="lee") is None
        again = meetings.begin(db, UID, host="kim", longest=timedelta(hours=1))
        assert again.ended == [first.id]
        assert [meetings.is_open(db, one.id) for one in (first, other, over, again)] == [False, True, False, True]
        assert meetings.end(db, again.id, host="kim") == UID
        assert meetings.end(db, again.id, host="kim") is None
        assert meetings.find(db, again.id, invite=again.invite) is None


@pytest.mark.parametrize("first", ["removal", "image"])
def test_an_image_that_comes_while_its_study_is_removed_is_of_a_study_that_waits_to_be_read(
    database: Database, first: str
) -> None:
    arrive(database, 1)
    with database.begin() as db:
        reading_id = studies.take(db, UID, revision=1)
        assert reading_id
        readings.close(db, reading_id, state=ReadingState.REFUSED, code="not-ct", message="")
    acts = {"removal": lambda db: retention.remove(db, UID), "image": lambda db: arrivals.file_images(db, [filed(2)])}
    (second,) = acts.keys() - {first}
    began, done = threading.Event(), threading.Event()

    def act(name: str) -> object:
        with database.begin() as db:
            found = acts[name](db)
            if name == first:  # the other begins now, and waits for us or is done before us
                began.set()
                done.wait(1)
            return found

    with ThreadPoolExecutor(1) as thread:
        earlier = thread.submit(act, first)
        assert began.wait(20)
        act(second)
        done.set()
        assert earlier.result()
    with database.look() as db:
        (arriving,) = studies.arriving(db)
        images = 1 if first == "removal" else 2
        assert (arriving.StudyInstanceUID, arriving.images) == (UID, images)
        assert len(db.execute(sa.select(metadata.tables["series"])).all()) == 1


def test_what_is_due_for_one_destination_hides_nothing_that_is_due_for_another(database: Database) -> None:
    arrive(database, 1)
    reading_id = take(database)
    with database.begin() as db:
        for turn in range(300):
            outbox._add(db, reading_id, "", "slow", turn=turn)
        outbox.post(db, reading_id, ["other"])
        claimed = outbox.claim(db, process_id="w", busy=())
        assert {row["destination"] for row in claimed} == {"slow", "other"}
        db.execute(metadata.tables["delivery"].update().values(state=DeliveryState.WAITING))
        assert [row["destination"] for row in outbox.claim(db, process_id="w", busy=("slow",))] == ["other"]
