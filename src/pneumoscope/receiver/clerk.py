"""Files what the associations left in the spool, closes arrivals, answers commitments, and beats."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from queue import Empty

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.errors import PneumoscopeError
from pneumoscope.filing.objects import file_waiting
from pneumoscope.loops import REST_S, is_of_the_machine
from pneumoscope.receiver import commitment
from pneumoscope.receiver.house import Entry, House
from pneumoscope.receiver.metrics import FILING, RECEIVED
from pneumoscope.records import Priority
from pneumoscope.store import arrivals, audit, processes

#: While an association is open its objects are filed in batches at most so far apart.
FILE_EVERY_S = 0.3
#: So long nothing is filed after the file store was found to be away or full; all stays in the spool.
STORE_REST_S = 2.0
log = structlog.get_logger()


class Clerk:
    """One thread of the receiver."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._closing: set[str] = set()
        self._filed_s = 0.0
        self._fault: PneumoscopeError | None = None
        self._rest_until_s = 0.0
        self._resting: dict[str, tuple[float, Exception]] = {}  # arrivals that met a fault of ours

    def file(self) -> None:
        """File arrivals that are over and close them; now and then those that go on. Raises the last fault met."""
        while True:
            try:
                self._closing.add(self._house.over.get_nowait())
            except Empty:
                break
        if self._fault and time.monotonic() < self._rest_until_s:
            raise self._fault.with_traceback(None)
        self._fault = None
        faults = [self._attempt(arrival_id, self._finish) for arrival_id in sorted(self._closing)]
        if time.monotonic() - self._filed_s > FILE_EVERY_S:
            faults += self._file_the_rest()
            self._filed_s = time.monotonic()
        for fault in filter(None, faults):
            raise fault.with_traceback(None)

    def _attempt(self, arrival_id: str, work: Callable[[str], None]) -> Exception | None:
        """One arrival that cannot be filed holds up no other; it is tried again, after a fault of ours only much later."""
        until_s, met = self._resting.get(arrival_id, (0.0, None))
        if time.monotonic() < until_s:
            return met
        self._resting.pop(arrival_id, None)
        try:
            work(arrival_id)
        except PneumoscopeError as fault:
            self._fault, self._rest_until_s = fault, time.monotonic() + STORE_REST_S
            return fault
        except Exception as fault:
            if not is_of_the_machine(fault):
                log.error("An arrival met a fault of ours and waits; the others go on", arrival_id=arrival_id, exc_info=True)
                self._resting[arrival_id] = (time.monotonic() + REST_S, fault)
            return fault
        return None

    def _finish(self, arrival_id: str) -> None:
        self._file(arrival_id)
        self._close(arrival_id)
        self._house.priorities.pop(arrival_id, None)
        self._closing.discard(arrival_id)

    def _file(self, arrival_id: str) -> None:
        house = self._house
        started_s = time.monotonic()
        priority = house.priorities.get(arrival_id, Priority.ROUTINE)
        outcomes = file_waiting(house.store, house.spool, arrival_id, settings=house.settings, priority=priority)
        if outcomes:
            FILING.observe(time.monotonic() - started_s)
        for outcome in outcomes:
            RECEIVED.labels(status=str(outcome.status)).inc()

    def _file_the_rest(self) -> list[Exception | None]:
        """Arrivals that go on, and those that a dead process of this machine left."""
        busy = self._closing | self._house.elsewhere
        present = [arrival_id for arrival_id in self._house.spool.arrivals() if arrival_id not in busy]
        if not present:
            return []
        with self._house.store.database.look() as db:
            owners = arrivals.owners(db, present)
            living = {found.id: found for found in processes.alive(db)}
        faults: list[Exception | None] = []
        left: list[str] = []
        for arrival_id in present:
            owner = living.get(owners.get(arrival_id, ""))
            if owner and owner.id == self._house.process_id:
                faults.append(self._attempt(arrival_id, self._file))
            elif owner is None or not processes.may_run(owner):
                log.warning("An arrival that was left unfiled is filed", arrival_id=arrival_id)
                fault = self._attempt(arrival_id, self._file)
                faults.append(fault)
                left += [] if fault else [arrival_id]
        # only now: more of a study that one of them brought may lie in another, and we may die in between
        return faults + [self._attempt(arrival_id, self._close) for arrival_id in left]

    def _close(self, arrival_id: str) -> None:
        self._house.store.database.insist(lambda db: arrivals.close_arrival(db, arrival_id))
        self._house.spool.remove(arrival_id)

    def note(self) -> None:
        """Write what waits for the audit trail."""
        entries = self._house.entries
        waiting = [entries.popleft() for _ in range(len(entries))]
        if not waiting:
            return
        try:
            with self._house.store.database.begin() as db:
                for entry in waiting:
                    self._record(db, entry)
        except SQLAlchemyError:
            entries.extendleft(reversed(waiting))
            raise

    def _record(self, db: sa.Connection, entry: Entry) -> None:
        """One that the database cannot take keeps no other from the trail, and is told of there."""
        try:
            with db.begin_nested():
                audit.record(db, **vars(entry))
        except Exception as fault:
            if is_of_the_machine(fault):
                raise
            log.error("An entry cannot be written into the audit trail as it is", exc_info=True)
            audit.record(db, **vars(replace(entry, actor="", StudyInstanceUID="", detail="The entry could not be written.")))

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
