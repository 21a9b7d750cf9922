"""Finds readings whose workflow ended without them: stopped by hand, or by a fault that outlasted all patience."""

from datetime import timedelta

import sqlalchemy as sa
import structlog
from dbos import DBOS

from pneumoscope.store import readings
from pneumoscope.store.schema import ReadingState
from pneumoscope.worker.workflow import MAX_ATTEMPTS, Bench

#: As DBOS has them; the others are on their way.
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
CODE, MESSAGE = "workflow-lost", "The workflow of this reading ended without it."
log = structlog.get_logger()


class Sweep:
    """Every worker looks; the rows decide who acts."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def look(self) -> None:
        """Put back what was left, and after too many attempts show it as failed."""
        database = self._bench.store.database
        with database.look() as db:
            open_readings = readings.under_way(db)
        if not open_readings:
            return
        ids = [row["workflow_id"] for row in open_readings]
        found = DBOS.list_workflows(workflow_ids=ids, status=ENDED, load_input=False, load_output=False)
        ended = {workflow.workflow_id for workflow in found}
        for row in open_readings:
            if row["workflow_id"] in ended:
                with database.begin() as db:
                    self._put_back(db, row)

    def _put_back(self, db: sa.Connection, seen: sa.RowMapping) -> None:
        row = readings.get(db, seen["id"])  # the workflow may have ended as it should since we looked
        if row["workflow_id"] != seen["workflow_id"] or row["state"] not in (ReadingState.WAITING, ReadingState.RUNNING):
            return
        log.error("A reading was left by its workflow", reading_id=row["id"], attempts=row["attempts"])
        if row["attempts"] >= MAX_ATTEMPTS:
            readings.close(db, row["id"], state=ReadingState.FAILED, code=CODE, message=MESSAGE)
        else:  # counted, so that the next workflow has another name
            readings.put_back(db, row["id"], after=timedelta(0), code=CODE, message=MESSAGE, more_attempts=1)
