"""Files what the associations left in the spool, closes arrivals, answers commitments, and beats."""

import os
import signal
import time
from queue import Empty

import structlog

from pneumoscope.filing import file_waiting
from pneumoscope.receiver import commitment
from pneumoscope.receiver.house import House
from pneumoscope.receiver.metrics import FILING, RECEIVED
from pneumoscope.store import arrivals, processes
from pneumoscope.store.schema import Priority

#: While an association is open its objects are filed in batches at most so far apart.
FILE_EVERY_S = 1.0
log = structlog.get_logger()


class Clerk:
    """One thread of the receiver."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._closing: set[str] = set()
        self._filed_s = 0.0

    def file(self) -> None:
        """File arrivals that are over and close them; now and then those that go on."""
        while True:
            try:
                self._closing.add(self._house.over.get_nowait())
            except Empty:
                break
        for arrival_id in sorted(self._closing):
            self._file(arrival_id)
            self._close(arrival_id)
            self._house.priorities.pop(arrival_id, None)
            self._closing.discard(arrival_id)
        if time.monotonic() - self._filed_s > FILE_EVERY_S:
            self._file_the_rest()
            self._filed_s = time.monotonic()

    def _file(self, arrival_id: str) -> None:
        house = self._house
        with FILING.time():
            priority = house.priorities.get(arrival_id, Priority.ROUTINE)
            outcomes = file_waiting(house.store, house.spool, arrival_id, settings=house.settings, priority=priority)
        for outcome in outcomes:
            RECEIVED.labels(status=str(outcome.status)).inc()

    def _file_the_rest(self) -> None:
        """Arrivals that go on, and those that a dead process of this machine left."""
        present = self._house.spool.arrivals()
        if not present:
            return
        with self._house.store.database.look() as db:
            owners = arrivals.owners(db, present)
            living = {found.id for found in processes.alive(db)}
        for arrival_id in present:
            owner = owners.get(arrival_id, "")
            if owner == self._house.process_id:
                self._file(arrival_id)
            elif owner not in living:
                log.warning("An arrival that was left unfiled is filed", arrival_id=arrival_id)
                self._file(arrival_id)
                self._close(arrival_id)

    def _close(self, arrival_id: str) -> None:
        self._house.store.database.insist(lambda db: arrivals.close_arrival(db, arrival_id))
        self._house.spool.remove(arrival_id)

    def answer(self) -> None:
        """Answer storage commitments."""
        commitment.answer_due(self._house)

    def beat(self) -> None:
        """Say that we live; where we were taken for dead, end: our arrivals were closed."""
        with self._house.store.database.begin() as db:
            lives = processes.beat(db, self._house.process_id)
        if not lives:
            log.error("This receiver was taken for dead and ends")
            os.kill(os.getpid(), signal.SIGKILL)
