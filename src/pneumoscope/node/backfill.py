"""Fills the node with old studies, from a folder or a PACS, never faster than it reads them and never before new ones."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pneumoscope.archive import open_archive
from pneumoscope.config import Pacs, Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.filing.objects import Status, file_waiting
from pneumoscope.filing.spool import Spool
from pneumoscope.node.prepare import prepare
from pneumoscope.opening import open_store
from pneumoscope.records import Priority
from pneumoscope.store import Store, arrivals, processes
from pneumoscope.store.schema import ReadingState, reading, study

#: So many old readings wait at most; the rest stays where it is until some are done.
MOST_WAITING = 8
BATCH_FILES = 400
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Period:
    """Dates of studies, YYYYMMDD, both included; empty: open."""

    since: str = ""
    until: str = ""

    @property
    def matching(self) -> str:
        """As DICOM's range matching has it (PS3.4 C.2.2.2.5)."""
        return f"{self.since}-{self.until}" if self.since or self.until else ""


def run(settings: Settings, *, folder: Path | None, pacs: str | None, since: str, until: str, progress: Progress) -> str:
    """Fill from a folder or a PACS and say in a sentence what came. Raises OperatorNeeded and RetryLater."""
    prepare(settings)
    store = open_store(settings)
    try:
        if folder:
            new, unreadable = backfill_folder(folder, store, settings, progress=progress)
            return f"{new} images were new." + (f" {unreadable} files could not be read." if unreadable else "")
        known = {given.name: given for given in settings.pacs}
        if pacs not in known:
            names = ", ".join(known) or "none"
            raise OperatorNeeded(f"The settings do not name this PACS; they name: {names}.", code="settings-wrong")
        count = backfill_pacs(known[pacs], Period(since=since, until=until), store, settings, progress=progress)
        return f"{count} studies were asked for."
    finally:
        store.database.close()


def backfill_folder(folder: Path, store: Store, settings: Settings, *, progress: Progress) -> tuple[int, int]:
    """Take in every file below ``folder``, which is left as it is.

    Returns how many objects were new, and how many files could not be read, such as links to what is gone.
    """
    files = sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names)
    new, done, unreadable = 0, 0, 0
    with _enrolled(store) as process_id:
        for batch in _batches(files):
            _wait_for_room(store)
            read = [file for file in batch if os.access(file, os.R_OK) and file.is_file()]
            new += _take(store, settings, process_id, (file.read_bytes() for file in read))
            unreadable += len(batch) - len(read)
            done += len(batch)
            progress(done, len(files))
    return new, unreadable


def backfill_pacs(pacs: Pacs, period: Period, store: Store, settings: Settings, *, progress: Progress) -> int:
    """Take in every CT study of a period from a PACS that is not here yet; returns how many studies were asked for.

    By QIDO-RS and WADO-RS where it has a ``url``, else by C-FIND and C-MOVE to our own listener. Raises RetryLater.
    """
    archive = open_archive(pacs, settings)
    with store.database.look() as db:
        here = set(db.execute(sa.select(study.c.StudyInstanceUID)).scalars())
    wanted = [uid for uid in archive.studies(period.matching) if uid not in here]
    with _enrolled(store) as process_id:
        for count, StudyInstanceUID in enumerate(wanted, start=1):
            _wait_for_room(store)
            objects = archive.fetch(StudyInstanceUID)
            if objects is not None:
                _take(store, settings, process_id, objects)
            progress(count, len(wanted))
    return len(wanted)


def _take(store: Store, settings: Settings, process_id: str, objects: Iterator[bytes]) -> int:
    """Spool and file objects as one arrival."""
    spool = Spool(settings.spool)
    with store.database.begin() as db:
        arrival_id = arrivals.open_arrival(db, process_id=process_id, channel="backfill", sender="backfill")
    spool.open(arrival_id)
    try:
        for content in objects:
            spool.write(arrival_id, content)
        outcomes = file_waiting(store, spool, arrival_id, settings=settings, priority=Priority.BACKFILL)
    finally:
        with store.database.begin() as db:
            arrivals.close_arrival(db, arrival_id)
    spool.remove(arrival_id)
    return sum(outcome.status is Status.FILED for outcome in outcomes)


def _batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Files of one folder together, so that a study comes whole, in as few batches as hold enough."""
    batch: list[Path] = []
    for file in files:
        if len(batch) >= BATCH_FILES and file.parent != batch[-1].parent:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _wait_for_room(store: Store) -> None:
    query = sa.select(sa.func.count()).where(
        reading.c.priority == Priority.BACKFILL, reading.c.state.in_((ReadingState.WAITING, ReadingState.RUNNING))
    )
    arriving = sa.select(sa.func.count()).where(
        study.c.priority == Priority.BACKFILL, study.c.revision > study.c.taken_revision
    )
    while True:
        with store.database.look() as db:
            if db.execute(query).scalar_one() + db.execute(arriving).scalar_one() < MOST_WAITING:
                return
        time.sleep(1.0)


class _enrolled:  # noqa: N801 - used as a function is
    """Our process among those of the node, beating, for as long as the context is open."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()

    def __enter__(self) -> str:
        with self._store.database.begin() as db:
            self._process_id = processes.enter(db, "backfill")
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self._process_id

    def _beat(self) -> None:
        while not self._stop.wait(2.0):
            self._store.database.insist(lambda db: processes.beat(db, self._process_id))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._store.database.begin() as db:
            processes.bury(db, self._process_id)
