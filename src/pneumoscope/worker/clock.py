"""Notices that the wall clock was set, by the monotonic one, and keeps that from holding anything up."""

import threading
import time
from datetime import timedelta

import structlog

from pneumoscope.store import Database, audit, waits

ACTION = "clock"
#: A clock that is kept right by small corrections never steps so far between two looks.
STEP_S = 5.0
#: Other processes may write what they reckoned by the old clock for so long after a step.
AFTERMATH_S = 5.0
#: After a step ahead nothing is old enough to be removed for so long: the clock may be wrong now.
DISTRUST_S = 24 * 3600.0
log = structlog.get_logger()


class Clock:
    """Every worker has one; what they do of it, each can do again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._ahead_s = _ahead_s()
        self._cut_until_s = self._distrusted_until_s = float("-inf")
        database.insist(lambda db: waits.cut(db, to=waits.LONGEST))  # it may have been set back while nothing ran

    def look(self) -> None:
        """Note a step; after one back, what waited for a moment by the old clock is due now."""
        with self._lock:
            ahead_s = _ahead_s()
            step_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
            if abs(step_s) > STEP_S:
                self._note(step_s)
            due = time.monotonic() < self._cut_until_s
        if due:
            with self._database.begin() as db:
                waits.cut(db, to=timedelta(0))

    def is_trusted(self) -> bool:
        """Whether the age of a study can be told."""
        self.look()
        return time.monotonic() >= self._distrusted_until_s

    def _note(self, step_s: float) -> None:
        text = f"The clock was set {'ahead' if step_s > 0 else 'back'} by {timedelta(seconds=round(abs(step_s)))}."
        log.warning(text)
        if step_s > 0:
            self._distrusted_until_s = time.monotonic() + DISTRUST_S
        self._database.insist(lambda db: audit.record(db, action=ACTION, detail=text))
        if step_s < 0:  # now that the database answers
            self._cut_until_s = time.monotonic() + AFTERMATH_S


def _ahead_s() -> float:
    return time.time() - time.monotonic()
