"""Windows of a site from its rows, on either database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pneumoscope.fleet.messages import Alarm, AlarmKind, Answer, Mode, ModelWindow, Role, Window
from pneumoscope.store import Database, alarms, evidence, now, service, tellings
from pneumoscope.store.fleet_schema import observation, verdict
from pneumoscope.store.schema import review
from pneumoscope.store.tellings import Span

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PRESENT, CANDIDATE = "lung-lesion 1.0.0", "lung-lesion 2.0.0"


def observe(db: sa.Connection, study: int, at: datetime, *, role: Role = Role.PRESENT, **more: Any) -> None:
    model = PRESENT if role is Role.PRESENT else CANDIDATE
    row = {
        "id": f"{role}-{study}-{at:%H%M%S}",
        "reading_id": f"reading-{study}",
        "StudyInstanceUID": f"1.2.{study}",
        "model": model,
        "device_uid": "2.25.1",
        "role": role,
        "mode": Mode.LIVE,
        "outcome": "read",
        "probability": 0.7,
        "category": "sign",
        "features": {"sex": "m"},
        "at": at,
    }
    db.execute(observation.insert().values(**(row | more)))


def answer(db: sa.Connection, study: int, at: datetime, judgement: str, category: str = "") -> None:
    db.execute(
        review.insert().values(
            id=f"review-{study}-{judgement}",
            reading_id=f"reading-{study}",
            number=1,
            StudyInstanceUID=f"1.2.{study}",
            version=1,
            model=PRESENT,
            judgement=judgement,
            category=category,
            added=[],
            removed=[],
            at=at,
        )
    )


def judge(db: sa.Connection, study: int, at: datetime, category: str) -> None:
    row = {"id": f"verdict-{study}", "StudyInstanceUID": f"1.2.{study}", "category": category, "source": "page", "at": at}
    db.execute(verdict.insert().values(**row))


def model(window: Window, role: Role) -> ModelWindow:
    (found,) = (one for one in window.models if one.role is role)
    return found


def test_what_was_written_late_counts_when_it_was_written(database: Database) -> None:
    """Readings in the first hour, answers and the candidate in the second; verdicts beside both models, each pair once."""
    with database.begin() as db:
        for study in range(30):
            observe(db, study, START + timedelta(minutes=study))
            observe(
                db, study, START + HOUR + timedelta(minutes=study), role=Role.CANDIDATE, category="no-sign", probability=0.4
            )
        for study in range(10):
            answer(db, study, START + HOUR, "accept")
        for study in range(10, 20):
            answer(db, study, START + HOUR, "modify", "no sign")
        for study in range(20, 30):
            judge(db, study, START + timedelta(minutes=40), "no-sign")
        first = tellings.of(db, Span(start=START, end=START + HOUR))
        second = tellings.of(db, Span(start=START + HOUR, end=START + 2 * HOUR))
    assert (first.studies, second.studies) == (30, 0)
    blind = model(first, Role.PRESENT).agreement
    assert (blind.answers, blind.agreed, blind.table) == (10, 0, {"sign/no-sign": 10})
    seen = model(second, Role.PRESENT).agreement
    assert (seen.answers, seen.agreed, seen.table) == (20, 10, {"sign/sign": 10, "sign/no-sign": 10})
    beside = model(second, Role.CANDIDATE)
    assert (beside.read, beside.agreement.answers, beside.agreement.agreed) == (30, 10, 10)
    assert beside.categories[Answer.NO_SIGN] == 30
    assert beside.paired is not None
    assert (beside.paired.both, beside.paired.same_category) == (30, 0)


def test_windows_follow_one_another_whatever_their_length(database: Database) -> None:
    with database.begin() as db:
        assert tellings.close(db, since=START + HOUR / 2, until=START + 2 * HOUR + timedelta(seconds=5), window_s=3600) == 1
        assert tellings.close(db, since=START, until=START + 3 * HOUR, window_s=3600) == 1
        assert tellings.close(db, since=START, until=START + 49 * HOUR, window_s=86_400) == 2
        told = tellings.due(db)
        assert [(one.start, one.end) for one in told] == [
            (START, START + HOUR),
            (START + HOUR, START + 2 * HOUR),
            (START + 2 * HOUR, START + 24 * HOUR),  # up to where days begin
            (START + 24 * HOUR, START + 48 * HOUR),
        ]
        tellings.kept(db, [told[0].start, told[2].start])
        assert [one.start for one in tellings.due(db)] == [told[1].start, told[3].start]
        assert tellings.close(db, since=START, until=START + 1000 * HOUR, window_s=3600) == tellings.AT_ONCE
        assert len(tellings.due(db)) == tellings.IN_A_REPORT


def test_no_window_begins_before_the_hubs_last_one_ended(database: Database) -> None:
    """A database that was restored, or is new, where the hub heard of later windows."""
    with database.begin() as db:
        until = START + 5.5 * HOUR
        assert tellings.close(db, since=START, until=START + 2.5 * HOUR, window_s=3600) == 2
        assert tellings.close(db, since=START, until=START + 5 * HOUR, window_s=3600, not_before=until) == 0
        assert tellings.close(db, since=START, until=START + 7.5 * HOUR, window_s=3600, not_before=until) == 2
        assert tellings.close(db, since=START, until=START + 8.5 * HOUR, window_s=3600, not_before=until) == 1
        assert [(one.start, one.end) for one in tellings.due(db)][2:] == [
            (until, START + 6 * HOUR),
            (START + 6 * HOUR, START + 7 * HOUR),
            (START + 7 * HOUR, START + 8 * HOUR),
        ]


def test_alarms_begin_and_end(database: Database) -> None:
    late = Alarm(kind=AlarmKind.LATE, since=START, value=90, limit=60)
    clock = Alarm(kind=AlarmKind.CLOCK, since=START, value=900, limit=300)
    with database.begin() as db:
        assert alarms.settle(db, [clock], of=[AlarmKind.CLOCK]) == [clock]
        assert alarms.settle(db, [late], of=[AlarmKind.LATE]) == [late]
        worse = late.model_copy(update={"value": 120.0})
        assert alarms.settle(db, [worse], of=[AlarmKind.LATE]) == []
        assert alarms.standing(db) == [clock, worse]
        alarms.settle(db, [], of=[AlarmKind.LATE])
        assert alarms.standing(db) == [clock]


def test_the_watch_sees_each_reading_with_the_last_word_on_it(database: Database) -> None:
    moment = now() - HOUR
    with database.begin() as db:
        for study in range(4):
            observe(db, study, moment + timedelta(minutes=study))
        answer(db, 0, moment + HOUR / 2, "accept")
        answer(db, 1, moment + HOUR / 2, "reject")
        judge(db, 2, moment + HOUR / 2, "no-sign")
        rows = evidence.gather(db, PRESENT, evidence.since(db))
        assert [(row.answer, row.agreed) for row in rows] == [("sign", True), ("", False), ("no-sign", False), ("", None)]
        before = evidence.extent(db, evidence.since(db))
        service.begin(db, model=PRESENT, actor="join")
        assert evidence.gather(db, PRESENT, evidence.since(db)) == []
        assert evidence.extent(db, evidence.since(db)) < before
