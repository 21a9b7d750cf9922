"""The durable workflow of one reading: assemble, read, file. Each step is carried out at least once and counts once.

DBOS keeps the queue and what each step returned: where a worker dies, another goes on behind the last step that was done. The
rows of our own tables decide what counts: a reading ends once, and its results are filed in the same transaction.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS

from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded, PneumoscopeError, RetryLater
from pneumoscope.store import Store, outbox, readings, studies
from pneumoscope.store.schema import Priority, ReadingState
from pneumoscope.worker.child import Reader, ReaderGone
from pneumoscope.worker.metrics import READINGS, SECONDS
from pneumoscope.worker.results import as_filed

QUEUE = "readings"
WORKFLOW = "read_study"
MAX_ATTEMPTS = 4
#: Waits before the next attempt, where the machine and not the study is at fault.
WAITS = tuple(timedelta(seconds=s) for s in (10, 60, 300))
#: Faults that pass by themselves or by an operator's act, without anyone asking for the study again.
PASSING = ("disk-full", "output-failed", "store-unwritable")
#: Faults of the bucket, which say nothing of the study or of this machine: waited out however long they last.
AWAY = ("store-away", "store-refused")
AWAY_WAIT = timedelta(seconds=10)
log = structlog.get_logger()


@dataclass
class Bench:
    """What the steps of this process work with."""

    settings: Settings
    store: Store
    process_id: str
    reader: Reader
    reading_priority: int | None = None  # of the reading under way
    workflows: set[str] = field(default_factory=set)  # that this process carries out


_bench: Bench | None = None


def set_bench(bench: Bench) -> None:
    """Give the steps what they work with, before DBOS starts."""
    global _bench  # noqa: PLW0603 - DBOS finds its steps by module, and calls them with what was queued alone
    _bench = bench


def _at() -> Bench:
    assert _bench is not None, "set_bench comes first"
    return _bench


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MAX_ATTEMPTS * 5)
def read_study(reading_id: str) -> str:
    """One attempt at a reading; returns what became of it."""
    structlog.contextvars.bind_contextvars(reading_id=reading_id)
    workflow_id, workflows = str(DBOS.workflow_id), _at().workflows
    workflows.add(workflow_id)
    try:
        keys = assemble(reading_id)
        answer = read(reading_id, keys) if keys else {"outcome": "over"}
        return settle(reading_id, answer)
    finally:
        workflows.discard(workflow_id)


@DBOS.step()
def assemble(reading_id: str) -> list[str]:
    """Which files make up the study; none where the reading is over already."""
    bench = _at()

    def work(db: sa.Connection) -> list[str]:
        row = readings.get(db, reading_id)
        over = row["state"] not in (ReadingState.WAITING, ReadingState.RUNNING)
        return [] if over else studies.source_keys(db, row["StudyInstanceUID"])

    return bench.store.database.insist(work)


@DBOS.step()
def read(reading_id: str, keys: list[str]) -> dict[str, Any]:
    """Read the files and leave the results in the file store; tells what became of it, and raises nothing on purpose."""
    bench = _at()
    attempt = bench.store.database.insist(lambda db: readings.start(db, reading_id, process_id=bench.process_id))
    if not attempt:
        return {"outcome": "over"}
    if attempt > MAX_ATTEMPTS:
        return {"outcome": "gave-up"}
    row, replaces = bench.store.database.insist(lambda db: (readings.get(db, reading_id), readings.predecessor(db, reading_id)))
    bench.reading_priority = row["priority"]
    files = bench.store.files
    try:
        with SECONDS.labels(stage="read").time(), files.folder(f"readings/{reading_id}") as out:
            return bench.reader.read(files.paths(keys), made_at=row["created_at"], out=out, replaces=replaces)
    except ReaderGone:
        return {"outcome": "preempted" if bench.reader.stopping and row["priority"] == Priority.BACKFILL else "crashed"}
    except (OperatorNeeded, RetryLater) as fault:
        return _faulty(fault)
    finally:
        bench.reading_priority = None


@DBOS.step()
def settle(reading_id: str, answer: dict[str, Any]) -> str:
    """Make what was found count: file the results and post them, or say why there are none, in one transaction."""
    bench = _at()
    filed = None
    try:
        if answer["outcome"] == "read":
            filed = as_filed(bench.store, reading_id, answer)
    except (OperatorNeeded, RetryLater) as fault:
        answer = _faulty(fault)

    def work(db: sa.Connection) -> str:
        if filed:
            if readings.finish(db, reading_id, summary=filed.summary, parcels=filed.parcels):
                filed.file(db)
                outbox.post(db, reading_id, [destination.name for destination in bench.settings.destinations])
            return "read"
        return _without_results(db, reading_id, answer)

    outcome = bench.store.database.insist(work)
    READINGS.labels(outcome=outcome, code=answer.get("code", "")).inc()
    log.info("A reading ended", outcome=outcome, code=answer.get("code", ""))
    return outcome


def _faulty(fault: PneumoscopeError) -> dict[str, Any]:
    return {"outcome": "operator", "code": fault.code, "message": str(fault)}


def _without_results(db: sa.Connection, reading_id: str, answer: dict[str, Any]) -> str:
    outcome, code, message = answer["outcome"], answer.get("code", ""), answer.get("message", "")
    attempts = readings.get(db, reading_id)["attempts"]
    if outcome == "over":
        return "over"
    if outcome == "preempted":
        readings.put_back(db, reading_id, after=timedelta(0), code="", message="", more_attempts=-1)
        return "preempted"
    if outcome == "crashed":
        code, message = "reader-crashed", "The reader died or hung on this study."
    if outcome == "gave-up":
        code, message = "reader-crashed", f"The worker died {MAX_ATTEMPTS} times while it read this study."
    if outcome == "crashed" and attempts < 2:
        readings.put_back(db, reading_id, after=timedelta(0), code=code, message=message)
        return "retried"
    if code in AWAY:
        readings.put_back(db, reading_id, after=AWAY_WAIT, code=code, message=message, more_attempts=-1)
        return "retried"
    if outcome == "operator" and code in PASSING and attempts <= len(WAITS):
        readings.put_back(db, reading_id, after=WAITS[attempts - 1], code=code, message=message)
        return "retried"
    state = ReadingState.REFUSED if outcome == "refused" else ReadingState.FAILED
    readings.close(db, reading_id, state=state, code=code, message=message)
    return str(state)
