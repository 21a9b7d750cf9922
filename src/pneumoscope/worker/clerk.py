"""Takes studies that are complete and puts readings into the queue."""

from datetime import timedelta

import sqlalchemy as sa
import structlog
from dbos import DBOS

from pneumoscope.filing.completeness import Judge
from pneumoscope.loops import Apart
from pneumoscope.records import Priority
from pneumoscope.store import readings, studies
from pneumoscope.store.schema import ReadingState
from pneumoscope.store.studies import Arriving
from pneumoscope.worker import serving
from pneumoscope.worker.asking import Asking
from pneumoscope.worker.metrics import READINGS
from pneumoscope.worker.workflow import LAST_PRIORITY, MAX_ATTEMPTS, QUEUE, WORKFLOW, Bench

#: Of a reading that ends, or waits, by a fault of ours.
BUG, REST = "bug", timedelta(minutes=1)
log = structlog.get_logger()


class Clerk:
    """Every worker has one; the rows decide which of them takes a study."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._asking = Asking(bench)
        self._judge = Judge(bench.store, bench.settings.arrival)
        self._apart = Apart("clerk")

    def look(self) -> None:
        """Take what is complete, enqueue what is due, and make room for what is urgent."""
        database = self._bench.store.database
        with database.look() as db:
            arriving = studies.arriving(db)
            due = readings.to_enqueue(db)
        try:
            self._apart.each(due, self._enqueue, key=lambda row: str(row["id"]), faulty=self._postpone)
            self._apart.each(arriving, self._take, key=lambda study: study.StudyInstanceUID, faulty=self._fail)
        finally:
            present = {study.StudyInstanceUID for study in arriving}
            self._judge.forget(present)
            self._asking.forget(present)
            self._make_room(arriving=bool(arriving))

    def _take(self, study: Arriving) -> None:
        if self._asking.ask(study) or not self._judge.is_due(study):
            return
        database = self._bench.store.database
        with database.begin() as db:
            reading_id = studies.take(db, study.StudyInstanceUID, revision=study.revision)
        if reading_id:
            log.info("A study is complete", reading_id=reading_id, images=study.images)
            with database.look() as db:
                row = readings.get(db, reading_id)
            self._enqueue(row)

    def _fail(self, study: Arriving, fault: Exception) -> None:
        """It counts as taken, with its reason, until someone asks for it again or more images come."""
        with self._bench.store.database.begin() as db:
            reading_id = studies.take(db, study.StudyInstanceUID, revision=study.revision)
            if reading_id:
                self._close(db, reading_id, fault)

    def _postpone(self, row: sa.RowMapping, fault: Exception) -> None:
        """It waits, and after too many attempts ends."""
        with self._bench.store.database.begin() as db:
            if row["attempts"] + 1 >= MAX_ATTEMPTS:
                self._close(db, row["id"], fault)
            else:
                readings.put_back(db, row["id"], after=REST, code=BUG, message=_message(fault), more_attempts=1)

    def _close(self, db: sa.Connection, reading_id: str, fault: Exception) -> None:
        readings.close(db, reading_id, state=ReadingState.FAILED, code=BUG, message=_message(fault))
        outcome = {"outcome": ReadingState.FAILED, "code": BUG}
        serving.observe(db, readings.get(db, reading_id), outcome, self._bench.serving(db))
        READINGS.labels(**outcome).inc()

    def _enqueue(self, row: sa.RowMapping) -> None:
        # named by reading, attempt and when it became due: enqueued twice, by two workers or after a crash, it is one; put back
        # without having been an attempt, it is another
        reading_id, priority = row["id"], row["priority"]
        workflow_id = f"{reading_id}.{row['attempts'] + 1}.{row['due_at']:%Y%m%d%H%M%S%f}"
        DBOS.enqueue_workflow_with_options(
            {"workflow_name": WORKFLOW, "queue_name": QUEUE, "workflow_id": workflow_id, "priority": priority}, reading_id
        )
        self._bench.store.database.insist(lambda db: readings.enqueued(db, reading_id, workflow_id))

    def _make_room(self, *, arriving: bool) -> None:
        """Back-filling never delays a new study: what is under way of it is stopped and waits again.

        A comparison goes as soon as a study begins to arrive, so that the reader is ready again before it is complete.
        """
        priority = self._bench.reading_priority
        if priority is None or priority < Priority.BACKFILL:
            return
        with self._bench.store.database.look() as db:
            urgent = readings.urgent_waiting(db, than=priority)
        if urgent or (arriving and priority == LAST_PRIORITY):
            self._bench.reader.stop()


def _message(fault: Exception) -> str:
    return f"The reading failed by a fault of ours ({type(fault).__name__})."
