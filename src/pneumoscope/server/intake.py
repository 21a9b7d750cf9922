"""What is brought over the web: into the spool, and from there into the archive."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pneumoscope.filing.objects import Outcome, file_waiting
from pneumoscope.filing.spool import Spool
from pneumoscope.records import Priority
from pneumoscope.server.desk import Desk
from pneumoscope.server.problems import Problem
from pneumoscope.server.visitor import Visitor
from pneumoscope.server.watch import has_room
from pneumoscope.store import arrivals

#: What became of an object that is in the archive now, or was there before.
TAKEN = frozenset({"filed", "duplicate", "own"})
#: The next part of an upload begins within this time, or does not come.
LINGER_S = 60.0
MOST_LINGERING = 1000


class Bringing:
    """One request's objects on their way in."""

    def __init__(self, desk: Desk, arrival_id: str) -> None:
        self._desk, self._arrival_id = desk, arrival_id
        self._linger_s = 0.0
        self._spool = Spool(desk.settings.spool)

    def begin(self) -> None:
        """Make room in the spool."""
        self._spool.open(self._arrival_id)

    def add(self, content: Iterable[bytes]) -> Path:
        """Put one object into the spool as it comes."""
        return self._spool.write(self._arrival_id, content)

    def file(self) -> list[Outcome]:
        """File everything that was added."""
        return file_waiting(
            self._desk.store, self._spool, self._arrival_id, settings=self._desk.settings, priority=Priority.ROUTINE
        )

    def follow(self, upload: str, *, more: bool) -> None:
        """What came is the next part of ``upload``; with ``more`` its studies wait for what is to come."""
        waiting = self._desk.lingering
        before = waiting.pop(upload, None)
        if before:
            self._desk.store.database.insist(lambda db: arrivals.close_arrival(db, before))
        if more:
            if len(waiting) > MOST_LINGERING:
                waiting.clear()
            waiting[upload], self._linger_s = self._arrival_id, LINGER_S

    def end(self) -> None:
        """Leave nothing in the spool."""
        self._spool.remove(self._arrival_id)
        self._desk.pulse.close(self._arrival_id, linger_s=self._linger_s)


@contextmanager
def bringing(desk: Desk, visitor: Visitor, channel: str) -> Iterator[Bringing]:
    """An arrival for as long as the context is open; where the request breaks off, what was not filed is dropped.

    Raises Problem 503 where the disk is nearly full.
    """
    if not has_room(desk):
        raise Problem(503, "disk-full", "The disk is nearly full; nothing more is taken.")
    with desk.store.database.begin() as db:
        arrival_id = arrivals.open_arrival(
            db, process_id=desk.pulse.process_id, channel=channel, sender=visitor.actor, address=visitor.address
        )
    under_way = Bringing(desk, arrival_id)
    try:
        under_way.begin()
        yield under_way
    finally:
        under_way.end()
