"""The worklist: which study comes first, what a search finds, what ten thousand studies cost, who is told of changes."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from test_store import filed, summary

import databases
from pneumoscope.records import Answer, Category, Judgement, Priority
from pneumoscope.store import Database, arrivals, readings, reviews, studies, urgency, worklist
from pneumoscope.store.changes import Changes
from pneumoscope.store.database import MIGRATIONS
from pneumoscope.store.schema import ReadingState, StudyState, reading, study
from pneumoscope.store.worklist import PAGE_ROWS, Wanted

START = datetime(2020, 3, 1, tzinfo=UTC)


def add(
    db: sa.Connection, number: int, *, result: tuple[str, float] | None = None, placed: bool = True, **values: object
) -> str:
    """A study row, with a reading that has this category and share; put in its place as the node does."""
    uid = f"2.25.{number}"
    row = {
        "StudyInstanceUID": uid,
        "state": StudyState.READ if result else StudyState.ARRIVING,
        "priority": Priority.ROUTINE,
        "revision": 1,
        "first_image_at": START + timedelta(minutes=number),
        "last_image_at": START + timedelta(minutes=number),
    }
    db.execute(study.insert().values(row | values))
    if result:
        db.execute(reading.insert().values(_reading(uid, *result)))
    if placed:
        urgency.refresh(db, uid)
    return uid


def _reading(uid: str, category: str, share: float, *, version: int = 1, state: str = ReadingState.READ) -> dict[str, object]:
    moments = dict.fromkeys(("due_at", "created_at", "last_image_at"), START)
    return {
        "id": f"{uid}-{version}",
        "StudyInstanceUID": uid,
        "version": version,
        "revision": 1,
        "state": state,
        "priority": Priority.ROUTINE,
        "category": category,
        "involved_share": share,
        **moments,
    }


def listed(db: sa.Connection, **wanted: object) -> list[str]:
    return [row["StudyInstanceUID"] for row in worklist.page(db, Wanted(**wanted))]


#: From the most urgent to the least, each for one reason.
ORDER = (
    {"state": StudyState.ARRIVING, "priority": Priority.EMERGENCY},
    {"result": (Category.NO_SIGN, 0.0), "priority": Priority.EMERGENCY},
    {"result": (Category.SIGN, 0.8), "priority": Priority.BACKFILL},
    {"result": (Category.SIGN, 0.3), "priority": Priority.INPATIENT},
    {"result": (Category.SIGN, 0.3)},
    {"result": (Category.SIGN, 0.26)},  # the same step, and waits less long
    {"result": (Category.SIGN, 0.06)},
    {"result": (Category.SIGN, 0.01)},
    {"state": StudyState.REFUSED},
    {"result": (Category.CANNOT_SAY, 0.9)},
    {"state": StudyState.FAILED, "priority": Priority.BACKFILL},
    {"result": (Category.INDETERMINATE, 0.3)},
    {"result": (Category.INDETERMINATE, 0.01), "priority": Priority.INPATIENT},
    {"state": StudyState.READING},
    {"result": (Category.NO_SIGN, 0.0)},
)


def test_the_most_urgent_is_first(database: Database) -> None:
    with database.begin() as db:
        uids = [add(db, number, **each) for number, each in enumerate(ORDER, start=1)]
        assert listed(db) == uids


def test_studies_from_before_get_their_places(database: Database) -> None:
    """As the migration puts them, so does the rule."""
    with database.engine.begin() as connection:
        if database.is_sqlite:
            for (name,) in connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'table'")).all():
                connection.execute(
                    sa.text(f'DROP TABLE IF EXISTS "{name}"') if not name.startswith("sqlite_") else sa.text("SELECT 1")
                )
        else:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
    with database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with database.begin() as db:
        for number, each in enumerate(ORDER, start=1):
            add(db, number, placed=False, **each)
    database.migrate()
    with database.begin() as db:
        before = dict(db.execute(sa.select(study.c.StudyInstanceUID, study.c.rank)).all())
        for uid in before:
            urgency.refresh(db, uid)
        assert dict(db.execute(sa.select(study.c.StudyInstanceUID, study.c.rank)).all()) == before
    assert len(set(before.values())) > 10


def test_each_rank_says_why() -> None:
    ranks = [
        urgency.rank(
            state=str(each.get("state", StudyState.READ)),
            priority=int(each.get("priority", Priority.ROUTINE)),
            category=each["result"][0] if "result" in each else "",
            involved_share=each["result"][1] if "result" in each else None,
        )
        for each in ORDER
    ]
    assert all(one <= other for one, other in pairwise(ranks))


def test_a_result_counts_while_another_is_made(database: Database) -> None:
    with database.begin() as db:
        worst, clear = add(db, 1, result=(Category.SIGN, 0.6)), add(db, 2, result=(Category.NO_SIGN, 0.0))
        assert studies.read_again(db, worst)
        assert listed(db) == [worst, clear]
        row = worklist.page(db, Wanted())[0]
        assert (row["state"], row["category"], row["version"]) == (StudyState.WAITING, Category.SIGN, 1)


def test_of_a_study_that_is_held_the_last_version_that_was_shown_counts(database: Database) -> None:
    with database.begin() as db:
        held, unclear = add(db, 1, result=(Category.SIGN, 0.6)), add(db, 2, result=(Category.INDETERMINATE, 0.01))
        clear = add(db, 3, result=(Category.NO_SIGN, 0.0))
        assert listed(db) == [held, unclear, clear]
        reading_id = studies.read_again(db, held)
        assert reading_id
        readings.start(db, reading_id, process_id="w")
        assert readings.hold(db, reading_id, code="shadow-mode", message="Held.", model="m 1", device_uid="2.25.1")
        assert not readings.hold(db, reading_id, code="shadow-mode", message="Held.", model="m 1", device_uid="2.25.1")
        assert listed(db) == [held, unclear, clear]
        row = worklist.page(db, Wanted(state=StudyState.HELD))[0]
        assert (row["StudyInstanceUID"], row["code"], row["category"]) == (held, "shadow-mode", Category.SIGN)
        assert row["version"] == 1
        assert listed(db, category=Category.SIGN) == [held]


def test_what_a_person_has_answered_comes_last_until_it_is_read_again(database: Database) -> None:
    with database.begin() as db:
        worst, clear = add(db, 1, result=(Category.SIGN, 0.6)), add(db, 2, result=(Category.NO_SIGN, 0.0))
        (reading_id,) = (row["reading_id"] for row in worklist.page(db, Wanted()) if row["StudyInstanceUID"] == worst)
        assert reviews.add(db, reading_id, Answer(judgement=Judgement.ACCEPT), reader="r")
        assert listed(db) == [clear, worst]
        assert studies.read_again(db, worst)
        assert listed(db) == [worst, clear]


def test_the_places_follow_what_happens(database: Database) -> None:
    with database.begin() as db:
        arrivals.file_images(db, [filed(1)])
        uid = filed(1).study.StudyInstanceUID
        other = add(db, 1, result=(Category.NO_SIGN, 0.0))
        assert listed(db) == [uid, other]
        taken = studies.take(db, uid, revision=1)
        assert taken
        readings.start(db, taken, process_id="w")
        readings.finish(db, taken, summary=summary(), parcels=())
        placed = db.execute(sa.select(study.c.rank).where(study.c.StudyInstanceUID == uid)).scalar_one()
        assert placed == urgency.rank(
            state=StudyState.READ, priority=Priority.ROUTINE, category="indeterminate", involved_share=0.1
        )
        arrivals.file_images(db, [filed(2, priority=Priority.EMERGENCY)])
        assert db.execute(sa.select(study.c.rank).where(study.c.StudyInstanceUID == uid)).scalar_one() < 1000


PEOPLE = {
    1: {"PatientName": "Hong^Gildong=洪^吉洞=홍^길동", "PatientID": "P_1", "AccessionNumber": "A%7"},
    2: {"PatientName": "Müller^Änne", "PatientID": "PX1", "AccessionNumber": "B8", "StudyDate": "20200315"},
    3: {"PatientName": "", "PatientID": "", "StudyDate": "20200401", "priority": Priority.EMERGENCY},
}


WORDS = {
    "gildong": [1],
    "Hong Gil": [1],
    "gil hong": [1],
    "홍길동": [1],
    "吉": [1],
    "hong müller": [],
    "MÜLLER": [2],
    "änne": [2],
    "P_1": [1],  # no wildcards
    "a%": [1],
    "b8": [2],
    "Müller^Änne": [2],
    "  ": [3, 1, 2],
}


def test_words_find(database: Database) -> None:
    with database.begin() as db:
        for number, values in PEOPLE.items():
            add(db, number, **values)
        found = {words: listed(db, words=words) for words in WORDS}
        assert found == {words: [f"2.25.{number}" for number in numbers] for words, numbers in WORDS.items()}
        assert worklist.count(db, Wanted(words="gildong")) == 1


def test_filters_narrow(database: Database) -> None:
    with database.begin() as db:
        for number, values in PEOPLE.items():
            add(db, number, **values)
        add(db, 4, result=(Category.SIGN, 0.2))
        assert listed(db, priority=Priority.EMERGENCY) == ["2.25.3"]
        assert listed(db, since="20200315", until="20200331") == ["2.25.2"]
        assert listed(db, until="20200314") == []  # without a date it is in no range
        add(db, 5, StudyDate="2020.03.20", PatientID="7")  # as old scanners write it
        assert listed(db, since="20200316", until="20200331") == ["2.25.5"]
        assert listed(db, until="20200315") == ["2.25.2"]
        assert listed(db, category=Category.SIGN) == ["2.25.4"]
        assert listed(db, state=StudyState.READ, words="x") == []
        assert worklist.count(db, Wanted(category=Category.SIGN, state=StudyState.READ)) == 1


def test_an_empty_id_is_nobody(database: Database) -> None:
    with database.begin() as db:
        for number, PatientID in ((1, ""), (2, ""), (3, " "), (4, "7"), (5, "7")):
            add(db, number, PatientID=PatientID, StudyDate=f"2020010{number}")
        add(db, 6, PatientID="7", StudyDate="2020.01.06")
        others = {uid: worklist.earlier(db, studies.get(db, uid)) for uid in ("2.25.1", "2.25.3", "2.25.4")}
    assert [row["StudyInstanceUID"] for row in others["2.25.4"]] == ["2.25.6", "2.25.5"]
    assert others["2.25.1"] == others["2.25.3"] == []


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    found = databases.sqlite(tmp_path_factory.mktemp("crowd") / "node.sqlite")
    crowd(found, 10_000)
    yield found
    found.close()


def crowd(database: Database, number: int) -> None:
    """So many studies, each read."""
    categories = list(Category)
    rows, results = [], []
    for k in range(number):
        category, share = categories[k % 4], (k * 37 % 100) / 100
        place = urgency.rank(state="read", priority=1 + k % 4, category=category, involved_share=share)
        moment = START + timedelta(minutes=k)
        row = {"StudyInstanceUID": f"2.25.{k}", "PatientName": f"Name{k}^Given", "PatientID": f"P{k}", "state": "read"}
        rows.append(
            row | {"priority": 1 + k % 4, "revision": 1, "first_image_at": moment, "last_image_at": moment, "rank": place}
        )
        results.append(_reading(f"2.25.{k}", category, share))
    with database.begin() as db:
        db.execute(study.insert(), rows)
        db.execute(reading.insert(), results)


def plan(db: sa.Connection, query: str, parameters: object) -> str:
    return " ".join(str(row[3]) for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", parameters))


def test_ten_thousand_cost_a_page_no_more_than_few(crowded: Database) -> None:
    asked: list[tuple[str, object]] = []
    sa.event.listen(crowded.engine, "before_cursor_execute", lambda *a: asked.append((a[2], a[3])))
    with crowded.look() as db:
        rows = worklist.page(db, Wanted(), number=100)
        assert len(rows) == PAGE_ROWS
        statement, parameters = next(each for each in asked if "LIMIT" in each[0])
        said = plan(db, statement, parameters)
    assert "USING INDEX ix_study_rank" in said
    assert "TEMP B-TREE" not in said  # nothing is sorted
    assert "SCAN reading" not in said


def test_pages_share_all_studies_among_them(crowded: Database) -> None:
    with crowded.look() as db:
        seen = [row["StudyInstanceUID"] for number in (1, 2, 200) for row in worklist.page(db, Wanted(), number=number)]
        assert worklist.page(db, Wanted(), number=201) == []
    assert len(set(seen)) == 3 * PAGE_ROWS


def test_changes_by_others_are_told_and_beats_are_not(database: Database) -> None:
    other = Database(database.url)  # as another process has it
    watch = Changes(database)
    try:
        assert watch.wait(seconds=0)  # what was before is not known
        assert not watch.wait(seconds=0)
        with other.begin() as db:
            db.execute(sa.text("INSERT INTO mark (name, value) VALUES ('beat', 1)"))
        assert not watch.wait(seconds=0.3)
        with other.begin() as db:
            add(db, 1)
        assert watch.wait(seconds=20)
        assert not watch.wait(seconds=0.3)
        later = threading.Timer(0.2, lambda: _read(other))
        later.start()
        assert watch.wait(seconds=20)
        later.join()
    finally:
        watch.close()
        other.close()


def _read(database: Database) -> None:
    with database.begin() as db:
        assert studies.read_again(db, "2.25.1")
