"""Work items on both databases: one claim wins, events keep their order, what is old goes; and the worker's part in it."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.uid import generate_uid

from pneumoscope.config import Settings
from pneumoscope.dicomjson import Json, element, text, values
from pneumoscope.records import Study
from pneumoscope.store import Database, FolderStore, Store, arrivals, now, readings, studies, subscriptions, workitems
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.schema import ReadingState
from pneumoscope.store.workitem_schema import workitem
from pneumoscope.ups.requirements import created
from pneumoscope.ups.states import State, Status
from pneumoscope.worker.child import Reader
from pneumoscope.worker.workflow import Bench
from pneumoscope.worker.worklist import Worklist
from workitem_maker import OTHER, STUDY, done, wish


@pytest.fixture
def worklist(database: Database, tmp_path: Path) -> Worklist:
    """The worker's part, whose reader is never started."""
    store = Store(database=database, files=FolderStore(tmp_path / "objects"))
    reader = Reader()
    reader.model_title = "m 1"
    return Worklist(Bench(settings=Settings(), store=store, process_id="worker-x", reader=reader))


def add(database: Database, **options: object) -> str:
    uid = generate_uid(prefix=None)
    with database.begin() as db:
        assert workitems.create(db, uid, created(wish(**options), uid, label="AI"))
    return uid


def get(database: Database, uid: str) -> sa.RowMapping:
    with database.look() as db:
        row = workitems.get(db, uid)
    assert row is not None
    return row


def arrive(database: Database, number: int = 1) -> None:
    one = Filed(
        study=Study(StudyInstanceUID=STUDY, PatientID="P1", PatientName="A^B"),
        SeriesInstanceUID=f"{STUDY}.1",
        SOPInstanceUID=f"{STUDY}.1.{number}",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        TransferSyntaxUID="1.2.840.10008.1.2.1",
        key=f"k{number}",
        sha256="0" * 64,
        size_bytes=1,
        received_at=now(),
    )
    with database.begin() as db:
        arrivals.file_images(db, [one])


def take(database: Database) -> str:
    with database.begin() as db:
        row = studies.get(db, STUDY)
        assert row is not None
        found = studies.take(db, STUDY, revision=row["revision"])
    assert found
    return found


def finish(database: Database, reading_id: str) -> None:
    summary = readings.Summary(
        probability=0.5, category="indeterminate", headline="So so.", involved_share=0.1, model="m 1", device_uid="2.25.1"
    )
    with database.begin() as db:
        readings.start(db, reading_id, process_id="worker-x")
        readings.finish(db, reading_id, summary=summary, parcels=[])


def events(database: Database, ae_title: str) -> list[Json]:
    with database.look() as db:
        return [content for _, content in subscriptions.waiting(db, ae_title, after=0)]


def states(database: Database, ae_title: str) -> list[str]:
    return [text(each, "ProcedureStepState") for each in events(database, ae_title) if values(each, "EventTypeID") == [1]]


def test_of_two_claims_one_wins(database: Database) -> None:
    uid = add(database, code=OTHER)
    gate, found = threading.Barrier(8), []

    def claim(number: int) -> None:
        gate.wait()
        with database.begin() as db:
            found.append((workitems.change_state(db, uid, State.IN_PROGRESS, key=f"1.{number}"), f"1.{number}"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [key for status, key in found if status is Status.DONE]
    assert len(won) == 1
    assert {status for status, key in found if key not in won} == {Status.KEY_WRONG}
    assert get(database, uid)["transaction_uid"] == won[0]


def test_the_node_and_another_claim_the_same(database: Database, worklist: Worklist) -> None:
    arrive(database)
    finish(database, take(database))
    for _ in range(5):
        uid = add(database)
        answers = []

        def other(uid: str = uid, answers: list[Status] = answers) -> None:
            with database.begin() as db:
                answers.append(workitems.change_state(db, uid, State.IN_PROGRESS, key="1.2"))

        thread = threading.Thread(target=other)
        thread.start()
        worklist.look()
        thread.join()
        ours = get(database, uid)["reading_id"] is not None
        assert (answers == [Status.DONE]) is not ours


def test_events_become_visible_in_the_order_of_their_numbers(database: Database) -> None:
    """A reader that has seen one number must not miss a smaller one that is committed later."""
    with database.begin() as db:
        subscriptions.subscribe_globally(db, "ALL", None)
    stop, seen = threading.Event(), []

    def read() -> None:
        while True:
            last_look = stop.is_set()
            with database.look() as db:
                found = subscriptions.waiting(db, "ALL", after=seen[-1] if seen else 0)
            seen.extend(number for number, _ in found)
            if last_look:
                return

    reader = threading.Thread(target=read)
    reader.start()
    makers = [threading.Thread(target=lambda: [add(database, code=OTHER) for _ in range(10)]) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    stop.set()
    reader.join()
    assert len(seen) == 40
    assert seen == sorted(seen)


def test_a_reading_that_is_held_ends_its_work_item_with_the_reason(database: Database, worklist: Worklist) -> None:
    with database.begin() as db:
        subscriptions.subscribe_globally(db, "ALL", None)
    arrive(database)
    reading_id = take(database)
    worklist.look()
    with database.begin() as db:
        readings.start(db, reading_id, process_id="worker-x")
        readings.hold(db, reading_id, code="shadow-mode", message="Held.", model="m 1", device_uid="2.25.1")
    worklist.look()
    assert states(database, "ALL")[-1] == "CANCELED"
    with database.look() as db:
        (item,) = workitems.find(db, {"PatientID": "P1"}, limit=10, offset=0)
    (progress,) = values(item, "ProcedureStepProgressInformationSequence")
    assert text(progress, "ReasonForCancellation") == "Held. (shadow-mode)"
    assert not values(item, "UnifiedProcedureStepPerformedProcedureSequence")


def test_a_reading_of_the_node_itself_is_shown_from_beginning_to_end(database: Database, worklist: Worklist) -> None:
    with database.begin() as db:
        subscriptions.subscribe_globally(db, "ALL", None)
    arrive(database)
    reading_id = take(database)
    worklist.look()
    worklist.look()  # shown once
    finish(database, reading_id)
    worklist.look()
    assert states(database, "ALL") == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    with database.look() as db:
        (item,) = workitems.find(db, {"PatientID": "P1"}, limit=10, offset=0)
        assert readings.unlisted(db) == []
    (source,) = values(item, "InputInformationSequence")
    assert text(values(source, "ReferencedSOPSequence")[0], "ReferencedSOPInstanceUID") == f"{STUDY}.1.1"


def test_a_work_item_waits_for_its_study_and_is_carried_out_by_the_reading_that_comes(
    database: Database, worklist: Worklist
) -> None:
    first, second = add(database), add(database)
    worklist.look()
    arrive(database)
    worklist.look()
    assert get(database, first)["state"] == State.SCHEDULED  # the study is not whole
    reading_id = take(database)
    worklist.look()
    assert [get(database, uid)["reading_id"] for uid in (first, second)] == [reading_id] * 2
    with database.begin() as db:
        readings.close(db, reading_id, state=ReadingState.REFUSED, code="too-few-slices", message="1 slice.")
    worklist.look()
    for uid in (first, second):
        row = get(database, uid)
        step = values(row["content"], "ProcedureStepProgressInformationSequence")[0]
        assert (row["state"], text(step, "ReasonForCancellation")) == (State.CANCELED, "1 slice. (too-few-slices)")
    # what was refused is tried again when it is asked for, urgently
    third = add(database, ScheduledProcedureStepPriority="HIGH")
    worklist.look()
    with database.look() as db:
        again = readings.get(db, get(database, third)["reading_id"])
    assert (again["version"], again["priority"]) == (2, 1)


def test_a_reading_that_waits_is_called_off_with_the_last_work_item_that_wants_it(
    database: Database, worklist: Worklist
) -> None:
    arrive(database)
    reading_id = take(database)
    first, second = add(database), add(database)
    worklist.look()
    for uid, left in ((first, ReadingState.WAITING), (second, ReadingState.REFUSED)):
        with database.begin() as db:
            assert workitems.request_cancel(db, uid, {}, requester="ME") is Status.DONE
            assert readings.get(db, reading_id)["state"] == left
        assert get(database, uid)["state"] == State.CANCELED
    worklist.look()
    assert get(database, second)["state"] == State.CANCELED


def test_a_reading_that_runs_is_not_called_off(database: Database, worklist: Worklist) -> None:
    arrive(database)
    reading_id = take(database)
    uid = add(database)
    worklist.look()
    with database.begin() as db:
        readings.start(db, reading_id, process_id="worker-x")
        assert workitems.request_cancel(db, uid, {}, requester="ME") is Status.DECLINED
    worklist.look()
    step = values(get(database, uid)["content"], "ProcedureStepProgressInformationSequence")[0]
    assert text(step, "ProcedureStepProgressDescription") == "The study is being read."


def test_old_work_items_and_events_go(database: Database) -> None:
    ended, open_ = add(database, code=OTHER), add(database, code=OTHER)
    with database.begin() as db:
        subscriptions.subscribe(db, "WATCHER", ended)
        workitems.change_state(db, ended, State.IN_PROGRESS, key="1.2")
        workitems.update(db, ended, done(), key="1.2")
        assert workitems.change_state(db, ended, State.COMPLETED, key="1.2") is Status.DONE
        assert workitems.forget(db, before=now() - timedelta(hours=1)) == 0
        assert workitems.forget(db, before=now() + timedelta(seconds=1)) == 1
        assert workitems.get(db, ended) is None
        assert workitems.get(db, open_) is not None
        assert not subscriptions.unsubscribe(db, "WATCHER", ended)
        assert subscriptions.waiting(db, "WATCHER", after=0) != []  # not yet a day old


def test_a_changed_work_item_is_no_longer_wanted(database: Database, worklist: Worklist) -> None:
    arrive(database)
    finish(database, take(database))
    uid = add(database)
    with database.begin() as db:
        assert workitems.update(db, uid, element("InputReadinessState", "UNAVAILABLE"), key="") is Status.DONE
    worklist.look()
    assert get(database, uid)["state"] == State.SCHEDULED
    with database.look() as db:
        assert db.execute(sa.select(workitem.c.wanted).where(workitem.c.SOPInstanceUID == uid)).scalar_one() is False
