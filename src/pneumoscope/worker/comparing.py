"""The candidate beside the model in service: it reads what that one has read, for its numbers alone, when nothing else waits.

Nothing depends on it. A try that has to make room is made again later, less and less often; one that dies is an observation.
"""

from contextlib import suppress
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS

from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.fleet.messages import Role
from pneumoscope.store import readings, studies
from pneumoscope.worker import serving
from pneumoscope.worker.child import ReaderGone
from pneumoscope.worker.workflow import AWAY, COMPARE, LAST_PRIORITY, PASSING, Bench, at_bench, enqueue_comparison

#: Tries in all, and what lies between them: days, on a node that is never idle.
MOST_TRIES = 60
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 7200.0
POSTPONED, OVER = "postponed", "over"
log = structlog.get_logger()


@DBOS.workflow(name=COMPARE, max_recovery_attempts=3)
def compare_study(reading_id: str, candidate: str, number: int) -> str:
    """One try; returns what became of it."""
    structlog.contextvars.bind_contextvars(reading_id=reading_id)
    outcome = compare(reading_id, candidate)
    if outcome == POSTPONED and number < MOST_TRIES:
        delay_s = min(FIRST_WAIT_S * 1.5 ** (number - 1), LONGEST_WAIT_S)
        enqueue_comparison(reading_id, candidate, number=number + 1, delay_s=delay_s)
    return outcome


@DBOS.step()
def compare(reading_id: str, candidate: str) -> str:
    """Read with the candidate and keep what it found."""
    bench = at_bench()
    keys = bench.store.database.insist(lambda db: _due(db, bench, reading_id, candidate))
    if isinstance(keys, str):
        return keys
    answer = _answer(bench, reading_id, candidate, keys)
    if answer["outcome"] == POSTPONED:
        return POSTPONED

    def work(db: sa.Connection) -> str:
        row, found = readings.find(db, reading_id), bench.serving(db)
        if row is None or found.candidate != candidate:
            return OVER
        serving.observe(db, row, answer, found, role=Role.CANDIDATE)
        return str(answer["outcome"])

    outcome = bench.store.database.insist(work)
    log.info("A candidate read a study", outcome=outcome, code=answer.get("code", ""))
    return outcome


def _due(db: sa.Connection, bench: Bench, reading_id: str, candidate: str) -> list[str] | str:
    """The files that the model in service read; or that it is no longer of use, or not the time."""
    row = readings.find(db, reading_id)
    study = studies.get(db, row["StudyInstanceUID"]) if row is not None else None
    if row is None or study is None or study["revision"] != row["revision"] or bench.serving(db).candidate != candidate:
        return OVER
    if readings.urgent_waiting(db, than=LAST_PRIORITY) or studies.arriving(db):
        return POSTPONED
    return studies.source_keys(db, row["StudyInstanceUID"]) or OVER


def _answer(bench: Bench, reading_id: str, candidate: str, keys: list[str]) -> dict[str, Any]:
    made_at = bench.store.database.insist(lambda db: readings.get(db, reading_id)["created_at"])
    bench.reading_priority = LAST_PRIORITY
    try:
        answer = bench.reader.read(bench.store.files.paths(keys), made_at=made_at, out=None, model=candidate)
    except ReaderGone:
        bench.reading_priority = None
        return _made_room(bench) if bench.reader.stopping else _failed("reader-crashed")
    except (OperatorNeeded, RetryLater) as fault:
        answer = {"outcome": "operator", "code": fault.code}
    finally:
        bench.reading_priority = None
    if answer["outcome"] == "operator":
        passing = bench.reader.stopping or answer["code"] in (*PASSING, *AWAY)
        return {"outcome": POSTPONED} if passing else _failed(answer["code"])
    return _failed("reader-crashed") if answer["outcome"] == "crashed" else answer


def _made_room(bench: Bench) -> dict[str, Any]:
    """Have the reader ready for what is to come; here, since it dies with the thread that started it."""
    with suppress(OperatorNeeded):  # whoever reads next is told
        bench.reader.start()
    return {"outcome": POSTPONED}


def _failed(code: str) -> dict[str, Any]:
    return {"outcome": "failed", "code": code}
