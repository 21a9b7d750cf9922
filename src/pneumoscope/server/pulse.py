"""The beat of this process, and whose beat it hears: who of the others lives, by our own clock."""

import os
import signal
import threading
import time
from collections import Counter, deque

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.store import Database, arrivals, processes

EVERY_S = 2.0
#: One whose beat does not grow for so long is taken for dead.
SILENCE_S = 8.0
#: How long a database that is away is waited for by whoever closes an arrival.
PATIENCE_S = 30.0
log = structlog.get_logger()


class Pulse:
    """Our server among the processes of the node."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stop = threading.Event()
        self._seen: dict[str, tuple[int, float, str]] = {}  # beat, when it last grew, kind
        self._thread = threading.Thread(target=self._loop, name="pulse", daemon=True)
        self._unclosed: deque[str] = deque()
        self.process_id = ""

    def start(self) -> None:
        """Enrol, and beat from now on."""
        self.process_id = self._database.insist(lambda db: processes.enter(db, "server"), patience_s=20)
        self._thread.start()

    def stop(self) -> None:
        """End in order: nothing of ours is left open."""
        self._stop.set()
        self._thread.join()
        try:
            with self._database.begin() as db:
                processes.bury(db, self.process_id)
        except SQLAlchemyError as fault:  # then a worker will find us dead
            log.warning("The server could not sign off", fault=type(fault).__name__)

    def close(self, arrival_id: str, *, linger_s: float = 0.0) -> None:
        """Close an arrival of ours, once the database is there: left open it holds its studies up for as long as we live."""
        try:
            self._database.insist(lambda db: arrivals.close_arrival(db, arrival_id, linger_s=linger_s), patience_s=PATIENCE_S)
        except SQLAlchemyError as fault:
            log.warning("An arrival cannot be closed yet", arrival_id=arrival_id, fault=type(fault).__name__)
            self._unclosed.append(arrival_id)

    def living(self) -> Counter[str]:
        """How many processes of each kind live and work; one that has not beaten yet is still starting."""
        self._look()
        moment_s = time.monotonic()
        return Counter(kind for beat, grew_s, kind in self._seen.values() if beat and moment_s - grew_s < SILENCE_S)

    def _look(self) -> None:
        with self._database.look() as db:
            others = processes.alive(db)
        moment_s = time.monotonic()
        seen = {}
        for other in others:
            beat, grew_s, _ = self._seen.get(other.id, (-1, moment_s, ""))
            seen[other.id] = (other.beat, moment_s if beat != other.beat else grew_s, other.kind)
        self._seen = seen

    def _loop(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                with self._database.begin() as db:
                    lives = processes.beat(db, self.process_id)
                self._close_what_is_left()
                self._look()
            except SQLAlchemyError as fault:
                log.warning("The server could not beat", fault=type(fault).__name__)
                continue
            if not lives:
                log.error("This server was taken for dead and ends; another is started")
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _close_what_is_left(self) -> None:
        while self._unclosed:
            with self._database.begin() as db:
                arrivals.close_arrival(db, self._unclosed[0])
            self._unclosed.popleft()
