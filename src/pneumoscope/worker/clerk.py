"""Takes studies that are complete and puts readings into the queue."""

import sqlalchemy as sa
import structlog
from dbos import DBOS

from pneumoscope.filing.completeness import Judge
from pneumoscope.records import Priority
from pneumoscope.store import readings, studies
from pneumoscope.worker.asking import Asking
from pneumoscope.worker.workflow import LAST_PRIORITY, QUEUE, WORKFLOW, Bench

log = structlog.get_logger()


class Clerk:
    """Every worker has one; the rows decide which of them takes a study."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._asking = Asking(bench)
        self._judge = Judge(bench.store, bench.settings.arrival)

    def look(self) -> None:
        """Take what is complete, enqueue what is due, and make room for what is urgent."""
        database = self._bench.store.database
        with database.look() as db:
            arriving = studies.arriving(db)
            due = readings.to_enqueue(db)
        for study in arriving:
            if not self._asking.ask(study) and self._judge.is_due(study):
                with database.begin() as db:
                    reading_id = studies.take(db, study.StudyInstanceUID, revision=study.revision)
                if reading_id:
                    log.info("A study is complete", reading_id=reading_id, images=study.images)
                    with database.look() as db:
                        due.append(readings.get(db, reading_id))
        present = {study.StudyInstanceUID for study in arriving}
        self._judge.forget(present)
        self._asking.forget(present)
        for row in due:
            self._enqueue(row)
        self._make_room(arriving=bool(arriving))

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
