"""Fills the node with old studies, from a folder or a PACS, never faster than it reads them and never before new ones."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)
from requests.exceptions import RequestException

from pneumoscope.config import Pacs, Settings
from pneumoscope.delivery.mended import Entity
from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.filing import Spool, Status, file_waiting
from pneumoscope.node.prepare import prepare
from pneumoscope.store import Database, FolderStore, Store, arrivals, processes
from pneumoscope.store.schema import Priority, ReadingState, reading, study

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
    store = Store(database=Database(settings.database_url), files=FolderStore(settings.objects))
    try:
        if folder:
            return f"{backfill_folder(folder, store, settings, progress=progress)} images were new."
        known = {given.name: given for given in settings.pacs}
        if pacs not in known:
            names = ", ".join(known) or "none"
            raise OperatorNeeded(f"The settings do not name this PACS; they name: {names}.", code="settings-wrong")
        count = backfill_pacs(known[pacs], Period(since=since, until=until), store, settings, progress=progress)
        return f"{count} studies were asked for."
    finally:
        store.database.close()


def backfill_folder(folder: Path, store: Store, settings: Settings, *, progress: Progress) -> int:
    """Take in every file below ``folder``, which is left as it is; returns how many objects were new."""
    files = sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names)
    new, done = 0, 0
    with _enrolled(store) as process_id:
        for batch in _batches(files):
            _wait_for_room(store)
            new += _take(store, settings, process_id, (file.read_bytes() for file in batch))
            done += len(batch)
            progress(done, len(files))
    return new


def backfill_pacs(pacs: Pacs, period: Period, store: Store, settings: Settings, *, progress: Progress) -> int:
    """Take in every CT study of a period from a PACS that is not here yet; returns how many studies were asked for.

    By QIDO-RS and WADO-RS where it has a ``url``, else by C-FIND and C-MOVE to our own listener. Raises RetryLater.
    """
    fetch = _Web(pacs, store, settings) if pacs.url else _Dimse(pacs, settings)
    with store.database.look() as db:
        here = set(db.execute(sa.select(study.c.StudyInstanceUID)).scalars())
    wanted = [uid for uid in fetch.studies(period) if uid not in here]
    with _enrolled(store) as process_id:
        for count, StudyInstanceUID in enumerate(wanted, start=1):
            _wait_for_room(store)
            fetch.fetch(StudyInstanceUID, process_id)
            progress(count, len(wanted))
    return len(wanted)


class _Web:
    def __init__(self, pacs: Pacs, store: Store, settings: Settings) -> None:
        headers = {"Authorization": f"Bearer {pacs.token}"} if pacs.token else None
        self._client = DICOMwebClient(pacs.url, headers=headers)
        self._store, self._settings = store, settings

    def studies(self, period: Period) -> list[str]:
        filters = {"ModalitiesInStudy": "CT"} | ({"StudyDate": period.matching} if period.matching else {})
        try:
            found = self._client.search_for_studies(search_filters=filters, get_remaining=True)
        except RequestException as fault:
            raise _away(fault) from fault
        return [str(Dataset.from_json(item).StudyInstanceUID) for item in found]

    def fetch(self, StudyInstanceUID: str, process_id: str) -> None:
        def objects() -> Iterator[bytes]:
            for dataset in self._client.iter_study(StudyInstanceUID):
                buffer = DicomBytesIO()
                dataset.save_as(buffer, enforce_file_format=True)
                yield buffer.getvalue()

        try:
            _take(self._store, self._settings, process_id, objects())
        except RequestException as fault:
            raise _away(fault) from fault


class _Dimse:
    def __init__(self, pacs: Pacs, settings: Settings) -> None:
        if not (pacs.ae_title and pacs.host and pacs.port):
            raise OperatorNeeded(
                "The PACS has neither a url nor an ae_title with host and port; one of them is needed.", code="settings-wrong"
            )
        self._peer = (pacs.host, pacs.port, pacs.ae_title)
        self._own_title = settings.dicom.ae_title

    def studies(self, period: Period) -> list[str]:
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = ""
        query.StudyDate = period.matching
        query.ModalitiesInStudy = "CT"
        found = self._ask(StudyRootQueryRetrieveInformationModelFind, "send_c_find", query)
        return [str(answer.StudyInstanceUID) for answer in found if answer is not None and "StudyInstanceUID" in answer]

    def fetch(self, StudyInstanceUID: str, _process_id: str) -> None:
        """The images come to our listener, which knows by the move's originator that they are no new study."""
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = StudyInstanceUID
        self._ask(StudyRootQueryRetrieveInformationModelMove, "send_c_move", query, self._own_title)

    def _ask(self, model: str, verb: str, query: Dataset, *arguments: str) -> list[Dataset | None]:
        host, port, title = self._peer
        node = Entity(self._own_title)
        node.add_requested_context(model)
        association = node.associate(host, port, ae_title=title)
        if not association.is_established:
            raise RetryLater("The PACS does not take the association.", code="peer-unreachable")
        try:
            answers = []
            for status, answer in getattr(association, verb)(query, *arguments, model):
                if not status or status.Status not in (0x0000, 0xFF00, 0xFF01):
                    code = f"0x{status.Status:04X}" if status else "none"
                    raise RetryLater(f"The PACS answered with status {code}; 0x0000 was expected.", code="peer-failed")
                answers.append(answer)
            return answers
        finally:
            association.release()


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
    """Files of one folder together, as far as a batch holds them, so that a study comes whole."""
    rest = iter(files)
    while batch := list(islice(rest, BATCH_FILES)):
        for file in rest:
            if file.parent != batch[-1].parent:
                rest = _put_back(file, rest)
                break
            batch.append(file)
        yield batch


def _put_back(file: Path, rest: Iterator[Path]) -> Iterator[Path]:
    yield file
    yield from rest


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


def _away(fault: RequestException) -> RetryLater:
    status = getattr(fault.response, "status_code", None)
    return RetryLater(f"The PACS did not answer as it must ({status or type(fault).__name__}).", code="peer-unreachable")
