"""Answers of people, on both databases: only added to, each person's last one counts, nobody's is lost."""

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from pneumoscope.records import Answer, Category, Judgement, Objection, Region, Study
from pneumoscope.store import Database, arrivals, now, outbox, readings, retention, reviews, studies
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.schema import DeliveryState

UID = "1.2.826.0.1.3680043.10.7"
ACCEPT = Answer(judgement=Judgement.ACCEPT)
REJECT = Answer(judgement=Judgement.REJECT, objection=Objection.INADEQUATE_IMAGE, text="Bewegung, 움직임")
MODIFY = Answer(
    judgement=Judgement.MODIFY,
    objection=Objection.WRONG_CATEGORY,
    category=Category.INDETERMINATE,
    added=(Region.LEFT_UPPER,),
    removed=(Region.RIGHT_LOWER,),
)


def read(database: Database) -> str:
    """A study that CT1 sent and that was read."""
    with database.begin() as db:
        arrival_id = arrivals.open_arrival(db, process_id="receiver-x", channel="dicom", sender="CT1")
        filed = Filed(
            study=Study(StudyInstanceUID=UID, PatientID="P1"),
            SeriesInstanceUID=f"{UID}.1",
            SOPInstanceUID=f"{UID}.1.1",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            TransferSyntaxUID="1.2.840.10008.1.2.1",
            key="studies/x",
            sha256="0" * 64,
            size_bytes=1000,
            received_at=now(),
            arrival_id=arrival_id,
        )
        arrivals.file_images(db, [filed])
        arrivals.close_arrival(db, arrival_id)
    return read_again(database)


def read_again(database: Database) -> str:
    with database.begin() as db:
        reading_id = studies.read_again(db, UID)
        assert reading_id
        readings.start(db, reading_id, process_id="worker-x")
        summary = readings.Summary(
            probability=0.9, category=Category.SIGN, headline="H.", involved_share=0.1, model="m 1", device_uid="2.25.1"
        )
        readings.finish(db, reading_id, summary=summary, parcels=[])
    return reading_id


def answer(database: Database, reading_id: str, given: Answer, *, reader: str = "kim") -> reviews.Added:
    with database.begin() as db:
        found = reviews.add(db, reading_id, given, reader=reader)
    assert found
    return found


def test_an_answer_survives_with_what_it_is_of(database: Database) -> None:
    reading_id = read(database)
    for given in (ACCEPT, REJECT, MODIFY):
        row = answer(database, reading_id, given, reader=given.judgement).row
        assert reviews.as_assessment(row).answer == given
    assert (row["StudyInstanceUID"], row["version"], row["model"], row["site"], row["number"]) == (UID, 1, "m 1", "CT1", 3)
    assert (row["probability"], row["found_category"]) == (0.9, Category.SIGN)


def test_nothing_changes_or_removes_an_answer(database: Database) -> None:
    answer(database, read(database), ACCEPT)
    for statement in ("UPDATE review SET judgement = 'reject'", "DELETE FROM review"):
        with pytest.raises(sa.exc.DBAPIError, match="only ever added to"), database.begin() as db:
            db.execute(sa.text(statement))


def test_a_later_answer_supersedes_the_same_readers_and_no_other(database: Database) -> None:
    reading_id = read(database)
    first = answer(database, reading_id, ACCEPT)
    answer(database, reading_id, ACCEPT, reader="lee")
    last = answer(database, reading_id, REJECT)
    assert last.row["supersedes"] == first.row["id"]
    with database.look() as db:
        current = reviews.latest(db, [reading_id, "none"])
        everything = reviews.of_reading(db, reading_id)
    assert [(row["reader"], row["judgement"]) for row in current[reading_id]] == [("lee", "accept"), ("kim", "reject")]
    assert [(row["reader"], bool(row["current"])) for row in everything] == [("kim", True), ("lee", True), ("kim", False)]


def test_the_same_answer_sent_twice_is_one(database: Database) -> None:
    reading_id = read(database)
    found: list[reviews.Added] = []
    threads = [threading.Thread(target=lambda: found.append(answer(database, reading_id, REJECT))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.new for each in found) == [False, False, False, True]
    assert len({each.row["id"] for each in found}) == 1
    answer(database, reading_id, ACCEPT)
    assert answer(database, reading_id, REJECT).new  # a change of mind, and back


def test_what_is_not_read_cannot_be_answered(database: Database) -> None:
    read(database)
    with database.begin() as db:
        waiting = studies.read_again(db, UID)
        assert waiting
        assert reviews.add(db, waiting, ACCEPT, reader="kim") is None
        assert reviews.add(db, "none", ACCEPT, reader="kim") is None


def test_a_newer_version_is_told_once_it_is_read(database: Database) -> None:
    row = answer(database, read(database), ACCEPT).row
    with database.look() as db:
        assert reviews.newer_version(db, row) is None
    read_again(database)
    with database.look() as db:
        assert reviews.newer_version(db, row) == 2


def test_the_order_to_make_an_object_is_taken_by_one_and_outlives_whoever_took_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    review_id = answer(database, read(database), ACCEPT).row["id"]
    with database.begin() as db:
        assert (reviews.claim(db), reviews.claim(db), reviews.anything_due(db)) == (review_id, None, False)
    monkeypatch.setattr(reviews, "now", lambda: now() + reviews.LEASE + timedelta(seconds=1))
    with database.begin() as db:
        assert reviews.claim(db) == review_id
        assert reviews.made(db, review_id)
        assert not reviews.made(db, review_id)
        assert reviews.claim(db) is None


def test_what_fails_waits_and_at_last_stops(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    reading_id = read(database)
    review_id = answer(database, reading_id, ACCEPT).row["id"]

    def state() -> tuple[str, str]:
        with database.look() as db:
            row = reviews.of_reading(db, reading_id)[0]
        return row["state"], row["code"]

    with database.begin() as db:
        reviews.claim(db)
        reviews.postpone(db, review_id, code="bug", message="It failed.")
    assert state() == ("waiting", "bug")
    monkeypatch.setattr(reviews, "now", lambda: now() + timedelta(days=8))
    with database.begin() as db:
        reviews.postpone(db, review_id, code="bug", message="It failed.")
    assert state() == ("stopped", "bug")


def test_a_study_stays_until_its_answers_are_made_and_sent_and_answers_stay_longer(database: Database) -> None:
    reading_id = read(database)
    review_id = answer(database, reading_id, ACCEPT).row["id"]
    soon = now() + timedelta(seconds=5)

    def removable() -> list[str]:
        with database.look() as db:
            return retention.removable(db, before=soon, limit=10)

    assert removable() == []
    with database.begin() as db:
        reviews.made(db, review_id)
        outbox.post(db, reading_id, ["pacs"], review_id=review_id)
        readings.add_parcels(
            db, reading_id, [readings.StoredParcel(name="a", media_type="", key="k", size_bytes=1)], review_id=review_id
        )
        assert readings.parcels(db, reading_id) == outbox.of_reading(db, reading_id) == []
    assert removable() == []
    with database.begin() as db:
        (row,) = outbox.claim(db, process_id="worker-x", busy=())
        outbox.settle(db, row["id"], state=DeliveryState.DELIVERED)
    assert removable() == [UID]
    with database.begin() as db:
        assert "k" in retention.remove(db, UID)
        assert [each["id"] for each in reviews.all_of(db)] == [review_id]


def test_reading_and_answer_are_sent_and_resent_apart(database: Database) -> None:
    reading_id = read(database)
    review_id = answer(database, reading_id, ACCEPT).row["id"]
    with database.begin() as db:
        outbox.post(db, reading_id, ["pacs"])
        for _ in range(2):
            outbox.post(db, reading_id, ["pacs"], review_id=review_id)
        (own,) = outbox.of_reading(db, reading_id, of_reviews=True)
        outbox.resend(db, own["id"])
        assert [row["state"] for row in outbox.of_reading(db, reading_id)] == ["waiting"]
        rounds = outbox.of_reading(db, reading_id, of_reviews=True)
    assert sorted((row["round"], row["state"], row["review_id"]) for row in rounds) == [
        (1, "cancelled", review_id),
        (2, "waiting", review_id),
    ]
