"""Beats for this process, and notices others that no longer do: what a dead one was at is taken over."""

import os
import signal
import threading
import time

import structlog
from dbos import DBOS

from pneumoscope.store import outbox, processes
from pneumoscope.worker.workflow import Bench

#: A process whose beat does not grow for so long, by our own clock, is dead.
SILENCE_S = 6.0
#: Where we cannot beat for so long, others cannot either: it is the database, and their silence says nothing.
OWN_SILENCE_S = 3.0
#: One that has not beaten yet is starting, which takes long on a machine that is busy.
START_S = 60.0
log = structlog.get_logger()


class Watch:
    """Our process among the others."""

    def __init__(self, bench: Bench, stop: threading.Event) -> None:
        self._bench = bench
        self._stop = stop
        self._seen: dict[str, tuple[int, float]] = {}  # beat, and when it last grew by the monotonic clock
        self._beat_s = self._steady_since_s = time.monotonic()

    def beat(self) -> None:
        """Say that we live; where we were taken for dead, end at once: another does our work."""
        with self._bench.store.database.begin() as db:
            lives = processes.beat(db, self._bench.process_id)
        if not lives:
            log.error("This worker was taken for dead and ends")
            self._bench.reader.stop()
            os.kill(os.getpid(), signal.SIGKILL)
        moment_s = time.monotonic()
        if moment_s - self._beat_s > OWN_SILENCE_S:
            self._steady_since_s = moment_s
        self._beat_s = moment_s

    def look_around(self) -> None:
        """Bury the dead, and take over what they were at."""
        with self._bench.store.database.look() as db:
            others = processes.alive(db)
        moment_s = time.monotonic()
        self._seen = {other.id: self._seen[other.id] for other in others if other.id in self._seen}
        for other in others:
            beat, grew_s = self._seen.get(other.id, (-1, moment_s))
            if beat != other.beat:
                self._seen[other.id] = (other.beat, moment_s)
                grew_s = moment_s
            heard_s = moment_s - max(grew_s, self._steady_since_s)
            silent = heard_s >= (SILENCE_S if other.beat else START_S) and moment_s - self._beat_s <= OWN_SILENCE_S
            if other.id != self._bench.process_id and (silent or not processes.may_run(other)):
                self._bury(other.id, other.kind)

    def _bury(self, process_id: str, kind: str) -> None:
        with self._bench.store.database.begin() as db:
            if not processes.bury(db, process_id):
                return
            outbox.release(db, process_id)
        log.warning("A process is dead", kind=kind, dead=process_id)
        if kind == "worker":
            DBOS._recover_pending_workflows([process_id])

    def leave(self) -> None:
        """We end in order: nothing of ours is left open."""
        with self._bench.store.database.begin() as db:
            processes.bury(db, self._bench.process_id)
            outbox.release(db, self._bench.process_id)
