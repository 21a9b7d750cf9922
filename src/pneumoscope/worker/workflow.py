"""The durable workflow of one reading: assemble, read, file or hold. Each step is carried out at least once and counts once.

DBOS keeps the queue and what each step returned: where a worker dies, another goes on behind the last step that was done. The
rows of our own tables decide what counts: a reading ends once, and its results are filed in the same transaction.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS

from pneumoscope import tracing
from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded, PneumoscopeError, RetryLater
from pneumoscope.records import Priority
from pneumoscope.store import Store, outbox, readings, service, studies
from pneumoscope.store.files import result_key
from pneumoscope.store.schema import ReadingState
from pneumoscope.store.service import Service
from pneumoscope.worker import journey, serving
from pneumoscope.worker.child import Reader, ReaderGone
from pneumoscope.worker.metrics import READINGS, SECONDS
from pneumoscope.worker.results import FiledResults, as_filed

QUEUE = "readings"
WORKFLOW = "read_study"
#: Reads the study once more with the candidate, where there is one; carried out by ``comparing.py``.
COMPARE = "compare_study"
#: Of such a comparison: after everything else.
LAST_PRIORITY = Priority.BACKFILL + 1
MAX_ATTEMPTS = 4
#: Waits before the next attempt, where the machine and not the study is at fault.
WAITS = tuple(timedelta(seconds=s) for s in (10, 60, 300))
#: Faults that pass by themselves or by an operator's act, without anyone asking for the study again.
PASSING = ("disk-full", "output-failed", "store-unwritable")
#: Faults of the bucket, which say nothing of the study or of this machine: waited out however long they last.
AWAY = ("store-away", "store-refused")
AWAY_WAIT = timedelta(seconds=10)
#: Why a reading that ended is made anew.
CHANGED = ("model-changed", "Another model, or another mode, came into service while the study was read.")
_OPEN = (ReadingState.WAITING, ReadingState.RUNNING)
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

    def serving(self, db: sa.Connection) -> Service:
        """What is in service now."""
        return service.current(db, self.reader.model_title)


_bench: Bench | None = None


def set_bench(bench: Bench) -> None:
    """Give the steps what they work with, before DBOS starts."""
    global _bench  # noqa: PLW0603 - DBOS finds its steps by module, and calls them with what was queued alone
    _bench = bench


def at_bench() -> Bench:
    """What the steps of this process work with."""
    assert _bench is not None, "set_bench comes first"
    return _bench


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MAX_ATTEMPTS * 5)
def read_study(reading_id: str) -> str:
    """One attempt at a reading; returns what became of it."""
    structlog.contextvars.bind_contextvars(reading_id=reading_id)
    workflow_id, workflows = str(DBOS.workflow_id), at_bench().workflows
    workflows.add(workflow_id)
    try:
        keys = assemble(reading_id)
        answer = read(reading_id, keys) if keys else {"outcome": "over"}
        outcome, candidate = settle(reading_id, answer)
        if candidate:
            enqueue_comparison(reading_id, candidate)
        return outcome
    finally:
        workflows.discard(workflow_id)


def enqueue_comparison(reading_id: str, candidate: str, *, number: int = 1, delay_s: float = 0.0) -> None:
    """Have the candidate read what was read, once nothing else waits. ``number``: which try it is."""
    workflow_id = f"{reading_id}.{candidate.replace(' ', '-')}.{number}"
    DBOS.enqueue_workflow_with_options(
        {
            "workflow_name": COMPARE,
            "queue_name": QUEUE,
            "workflow_id": workflow_id,
            "priority": LAST_PRIORITY,
            "delay_seconds": delay_s,
        },
        reading_id,
        candidate,
        number,
    )


@DBOS.step()
def assemble(reading_id: str) -> list[str]:
    """Which files make up the study; none where the reading is over already."""
    bench = at_bench()

    def work(db: sa.Connection) -> list[str]:
        row = readings.get(db, reading_id)
        return [] if row["state"] not in _OPEN else studies.source_keys(db, row["StudyInstanceUID"])

    with tracing.span(reading_id, "assemble") as span:
        keys = bench.store.database.insist(work)
        span.attributes["files"] = len(keys)
    return keys


@DBOS.step()
def read(reading_id: str, keys: list[str]) -> dict[str, Any]:
    """Read the files and leave the results in the file store; tells what became of it, and raises nothing on purpose."""
    bench = at_bench()
    attempt = bench.store.database.insist(lambda db: readings.start(db, reading_id, process_id=bench.process_id))
    if not attempt:
        return {"outcome": "over"}
    if attempt > MAX_ATTEMPTS:
        return {"outcome": "gave-up"}
    with tracing.span(reading_id, "read", files=len(keys), attempt=attempt) as span:
        answer = _read(bench, reading_id, keys)
        journey.tell_reading(span, answer)
    return answer


def _read(bench: Bench, reading_id: str, keys: list[str]) -> dict[str, Any]:
    row, replaces, found = bench.store.database.insist(
        lambda db: (readings.get(db, reading_id), readings.predecessor(db, reading_id), bench.serving(db))
    )
    tracing.note(reading_id, "queue", row["due_at"], row["started_at"], {"attempt": row["attempts"]})
    bench.reading_priority = row["priority"]
    paths = bench.store.files.paths
    try:
        with SECONDS.labels(stage="read").time(), _place(reading_id, found) as out:
            return bench.reader.read(
                paths(keys),
                made_at=row["created_at"],
                out=out,
                replaces=replaces,
                model=found.model if found.act else "",
                limits=_limits(found),
            )
    except ReaderGone:
        return {"outcome": "preempted" if bench.reader.stopping and row["priority"] == Priority.BACKFILL else "crashed"}
    except (OperatorNeeded, RetryLater) as fault:
        return _faulty(fault)
    finally:
        bench.reading_priority = None


def _place(reading_id: str, found: Service) -> AbstractContextManager[Path | None]:
    """Where results go; nowhere while they would be held anyway."""
    return at_bench().store.files.folder(f"readings/{reading_id}") if found.is_live else nullcontext()


def _limits(found: Service) -> tuple[float, float] | None:
    if found.no_sign_below is None or found.sign_from is None:
        return None
    return found.no_sign_below, found.sign_from


@DBOS.step()
def settle(reading_id: str, answer: dict[str, Any]) -> tuple[str, str]:
    """Make what was found count: file the results and post them, hold them, or say why there are none, in one transaction.

    Returns what became of it, and the candidate that is to read the study too, or empty.
    """
    with tracing.span(reading_id, "settle") as span:
        outcome, candidate = _settle(reading_id, answer)
        span.attributes["outcome"] = outcome
    journey.tell_whole(at_bench().store.database, reading_id)
    return outcome, candidate


def _settle(reading_id: str, answer: dict[str, Any]) -> tuple[str, str]:
    bench = at_bench()
    filed = None
    row = bench.store.database.insist(lambda db: readings.find(db, reading_id))
    try:
        if row is not None and answer["outcome"] == "read" and answer["parcels"]:
            filed = as_filed(bench.store, row, answer)
    except FileNotFoundError:  # they were removed when it was settled before, which then was not noted
        if row is not None and row["state"] in _OPEN:
            raise
    except (OperatorNeeded, RetryLater) as fault:
        answer = _faulty(fault)

    def work(db: sa.Connection) -> tuple[str, str]:
        service.keep(db)  # from here to the end nobody stops or releases anything
        found = bench.serving(db)
        row = readings.find(db, reading_id)
        if row is None:  # its study was removed
            return "over", ""
        if answer["outcome"] == "read":
            outcome = _with_results(db, row, answer, filed, found)
            return outcome, found.candidate if outcome in ("read", "held") else ""
        outcome = _without_results(db, reading_id, answer)
        if outcome in (ReadingState.REFUSED, ReadingState.FAILED):
            after = readings.get(db, reading_id)
            serving.observe(db, after, {**answer, "outcome": outcome, "code": after["code"]}, found)
        return outcome, ""

    outcome, candidate = bench.store.database.insist(work)
    READINGS.labels(outcome=outcome, code=answer.get("code", "")).inc()
    log.info("A reading ended", outcome=outcome, code=answer.get("code", ""))
    return outcome, candidate


def _with_results(
    db: sa.Connection, row: sa.RowMapping, answer: dict[str, Any], filed: FiledResults | None, found: Service
) -> str:
    """File while the model that read is in service and live; hold while it is not live; else it has to be read again."""
    bench, reading_id = at_bench(), row["id"]
    if row["state"] not in _OPEN:
        return str(row["state"])
    if found.act and answer["summary"]["model"] != found.model:
        readings.put_back(db, reading_id, after=timedelta(0), code=CHANGED[0], message=CHANGED[1], more_attempts=-1)
        outcome = "retried"
    elif not found.is_live:
        if serving.hold(db, reading_id, answer, found):
            serving.observe(db, row, answer, found)
        outcome = "held"
    elif filed is None:  # it was released while it read
        readings.put_back(db, reading_id, after=timedelta(0), code=CHANGED[0], message=CHANGED[1], more_attempts=-1)
        outcome = "retried"
    else:
        if readings.finish(db, reading_id, summary=filed.summary, parcels=filed.parcels):  # not by another meanwhile
            filed.file(db)
            outbox.post(db, reading_id, [destination.name for destination in bench.settings.destinations])
            serving.observe(db, row, answer, found)
        return "read"
    _forget(reading_id, answer)
    return outcome


def _forget(reading_id: str, answer: dict[str, Any]) -> None:
    """Remove results that nobody is to see; before the reading may begin anew elsewhere."""
    try:
        at_bench().store.files.delete(*(result_key(reading_id, item["name"]) for item in answer["parcels"]))
    except (OperatorNeeded, RetryLater, OSError) as fault:  # no row leads to them
        log.error("Results of a reading that is held could not be removed", kind=type(fault).__name__)


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
