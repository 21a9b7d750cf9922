"""A folder that is looked at for studies: what has stopped growing is taken in, and moved aside as taken or refused."""

import fcntl
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from pneumoscope.errors import Rejected
from pneumoscope.filing.objects import Status, file_waiting
from pneumoscope.intake.archive import unpack
from pneumoscope.loops import Apart
from pneumoscope.receiver.house import House
from pneumoscope.store import arrivals

TAKEN, REFUSED = "taken", "refused"
_BLOCK_BYTES = 2**20
#: Names the files beside all subfolders.
_ROOT = ""
log = structlog.get_logger()


class _Seen(NamedTuple):
    """A file's size, and since when it has it, by the monotonic clock."""

    size: int
    since_s: float


class Watched:
    """Files, zips and subfolders; two looks at the same size mean that nobody writes any more.

    The files of a subfolder go together, and so do those beside it, unless they never come to rest.
    """

    def __init__(self, house: House) -> None:
        assert house.settings.watched.folder is not None
        self._house = house
        self._folder = house.settings.watched.folder.absolute()
        self._seen: dict[Path, _Seen] = {}
        self._apart = Apart("watched")
        self._lock: int | None = None

    def look(self) -> None:
        """Take in what is whole, unless another receiver of this machine looks after the folder or the disk is full."""
        if not self._is_ours() or not self._house.room.is_there():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        before, moment_s = self._seen, time.monotonic()
        self._seen = {}
        for path, size in self._files():
            known = before.get(path)
            self._seen[path] = known if known and known.size == size else _Seen(size, moment_s)
        groups: dict[str, list[Path]] = defaultdict(list)
        for path in self._seen:
            parts = path.relative_to(self._folder).parts
            groups[parts[0] if len(parts) > 1 else _ROOT].append(path)
        self._apart.each(groups.items(), lambda group: self._look_at(*group, moment_s), key=lambda group: group[0])

    def _look_at(self, name: str, files: list[Path], moment_s: float) -> None:
        # all or nothing: a study whose first files are whole and whose last are on their way waits
        if all(self._seen[path].since_s < moment_s for path in files):
            self._take(files)
        elif name == _ROOT:  # where files are dropped without end there is never quiet
            quiet_s = self._house.settings.arrival.quiet_s
            if old := [path for path in files if moment_s - self._seen[path].since_s >= quiet_s]:
                self._take(old, linger_s=quiet_s)  # the rest of their studies may be on its way

    def _is_ours(self) -> bool:
        if self._lock is None:
            self._house.spool.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._house.spool.root / ".watched", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                return False
            self._lock = handle  # held until this process ends
        return True

    def _files(self) -> Iterator[tuple[Path, int]]:
        """Plain files and their sizes; links are not followed."""
        for root, folders, names in os.walk(self._folder):
            if Path(root) == self._folder:
                folders[:] = [name for name in folders if name not in (TAKEN, REFUSED)]
            for path in (Path(root, name) for name in sorted(names)):
                try:
                    if path.is_file() and not path.is_symlink():
                        yield path, path.stat().st_size
                except OSError:  # gone meanwhile
                    continue

    def _take(self, files: list[Path], *, linger_s: float = 0.0) -> None:
        house = self._house
        with house.store.database.begin() as db:
            arrival_id = arrivals.open_arrival(db, process_id=house.process_id, channel="folder", sender="folder")
        house.elsewhere.add(arrival_id)
        house.spool.open(arrival_id)
        closed = False
        try:
            spooled = {path: self._spool(path, arrival_id) for path in files}
            outcomes = file_waiting(house.store, house.spool, arrival_id, settings=house.settings)
            if linger_s:
                house.store.database.insist(lambda db: arrivals.close_arrival(db, arrival_id, linger_s=linger_s))
                house.spool.remove(arrival_id)
                closed = True
        finally:
            if not closed:
                house.over.put(arrival_id)  # the clerk files what is left, and closes it
            house.elsewhere.discard(arrival_id)
        good = {outcome.path for outcome in outcomes if outcome.status in (Status.FILED, Status.DUPLICATE, Status.OWN)}
        refused = [path for path, objects in spooled.items() if not good.intersection(objects)]
        for path in files:
            self._move(path, REFUSED if path in refused else TAKEN)
        log.info("A watched folder was emptied", files=len(files), objects=len(outcomes), refused=len(refused))

    def _spool(self, path: Path, arrival_id: str) -> list[Path]:
        """The objects of a file or archive; none where it may not be opened or unpacked."""
        try:
            with path.open("rb") as file:
                packed = file.read(2) == b"PK"
            if not packed:
                return [self._house.spool.write(arrival_id, _blocks(path))]
            with tempfile.TemporaryDirectory(dir=self._house.spool.root.parent) as scratch:
                unpack(path, to=Path(scratch))
                members = sorted(Path(scratch).iterdir())
                return [self._house.spool.write(arrival_id, _blocks(member)) for member in members]
        except (Rejected, PermissionError, FileNotFoundError):
            return []

    def _move(self, path: Path, where: str) -> None:
        target = self._folder / where / path.relative_to(self._folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{number}-{path.name}")
        path.replace(target)
        for parent in path.parents:
            if parent == self._folder or any(parent.iterdir()):
                break
            parent.rmdir()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
