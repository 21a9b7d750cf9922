"""Finds readings that nobody carries out: their workflow ended without them, is not known, or was dropped by its worker.

A worker drops a workflow where even its end could not be noted, as on a full disk; DBOS takes it for running ever after.
"""

from datetime import timedelta

import sqlalchemy as sa
import structlog
from dbos import DBOS

from pneumoscope.loops import Apart
from pneumoscope.store import processes, readings
from pneumoscope.store.schema import ReadingState
from pneumoscope.worker import serving
from pneumoscope.worker.workflow import MAX_ATTEMPTS, Bench

#: As DBOS has them: somebody will begin with it, or somebody is at it. With any other it is over.
QUEUED, RUNNING = ("ENQUEUED", "DELAYED"), "PENDING"
CODE, MESSAGE = "workflow-lost", "The workflow of this reading ended without it."
log = structlog.get_logger()


class Sweep:
    """Every worker looks; the rows decide who acts."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._suspected: set[str] = set()
        self._apart = Apart("sweep")

    def look(self) -> None:
        """Put back what was left, and after too many attempts show it as failed."""
        database = self._bench.store.database
        with database.look() as db:
            open_readings = readings.under_way(db)
            living = {process.id for process in processes.alive(db)}
        ids = [row["workflow_id"] for row in open_readings]
        found = DBOS.list_workflows(workflow_ids=ids, load_input=False, load_output=False) if ids else []
        running = {workflow.workflow_id: workflow.executor_id for workflow in found if workflow.status == RUNNING}
        dropped = {workflow_id for workflow_id, worker in running.items() if not self._is_at(workflow_id, worker, living)}
        # one that is just being taken, or taken over, looks dropped for a moment
        certain, self._suspected = dropped & self._suspected, dropped
        self._apart.each(certain, DBOS.cancel_workflow, key=str)
        carried = {w.workflow_id for w in found if w.status in QUEUED} | running.keys() - certain
        left = [row for row in open_readings if row["workflow_id"] not in carried]
        self._apart.each(left, self._put_back, key=lambda row: str(row["id"]))

    def _is_at(self, workflow_id: str, worker: str | None, living: set[str]) -> bool:
        if worker == self._bench.process_id:
            return workflow_id in self._bench.workflows
        return worker in living

    def _put_back(self, seen: sa.RowMapping) -> None:
        with self._bench.store.database.begin() as db:
            self._put_back_in(db, seen)

    def _put_back_in(self, db: sa.Connection, seen: sa.RowMapping) -> None:
        row = readings.get(db, seen["id"])  # the workflow may have ended as it should since we looked
        if row["workflow_id"] != seen["workflow_id"] or row["state"] not in (ReadingState.WAITING, ReadingState.RUNNING):
            return
        log.error("A reading was left by its workflow", reading_id=row["id"], attempts=row["attempts"])
        if row["attempts"] >= MAX_ATTEMPTS:
            readings.close(db, row["id"], state=ReadingState.FAILED, code=CODE, message=MESSAGE)
            serving.observe(db, row, {"outcome": ReadingState.FAILED, "code": CODE}, self._bench.serving(db))
        else:  # counted, so that the next workflow has another name
            readings.put_back(db, row["id"], after=timedelta(0), code=CODE, message=MESSAGE, more_attempts=1)
