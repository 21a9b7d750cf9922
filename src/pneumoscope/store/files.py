"""Where objects and results lie, by keys that read like relative paths: what a store does, and the folder that does it."""

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from pneumoscope.errors import OperatorNeeded
from pneumoscope.output import sync
from pneumoscope.records import is_uid

_SYNCS_AT_ONCE = 16
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def image_key(StudyInstanceUID: str, SeriesInstanceUID: str, SOPInstanceUID: str, sha256: str) -> str:
    """Key of an object of the archive, with its digest, so that another under its UID has another. Raises ValueError."""
    uids = (StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID)
    if not all(map(is_uid, uids)):
        raise ValueError("a UID that is none may not touch a path")
    return f"studies/{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}-{sha256[:16]}.dcm"


def result_key(reading_id: str, name: str) -> str:
    """Key of a result of a reading."""
    return f"readings/{reading_id}/{name}"


def aside_key(aside_id: str) -> str:
    """Key of an object that was set aside."""
    return f"aside/{aside_id}"


def check_key(key: str) -> str:
    """The key. Raises ValueError for one that would leave the store."""
    if not all(_PART.fullmatch(part) for part in key.split("/")):
        raise ValueError("a key has parts of letters, digits, dots, hyphens and underscores")
    return key


class FileStore(Protocol):
    """What every process of the node reads from and writes to, on whichever machine it runs.

    Every method may raise RetryLater where the store is away, and OperatorNeeded where it refuses or a disk is full.
    """

    def path(self, key: str) -> Path:
        """The file of ``key`` on this machine, to be opened soon; it exists where the store has one."""

    def paths(self, keys: Sequence[str]) -> list[Path]:
        """As ``path``, for many at once."""

    def present(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that the store has."""

    def put(self, key: str, content: bytes) -> None:
        """Write ``content`` whole or not at all, durable when this returns."""

    def bring(self, sources: Mapping[str, Path]) -> None:
        """Have each key hold what its file holds, which stays; each whole or not at all."""

    def folder(self, key: str) -> AbstractContextManager[Path]:
        """A path at which to make a folder of plain files; they are in the store, below ``key``, once the context closes."""

    def read(self, key: str) -> bytes:
        """The content of ``key``. Raises FileNotFoundError."""

    def delete(self, *keys: str) -> None:
        """Remove keys where they exist."""

    def sync(self, keys: Iterable[str]) -> None:
        """Make what was brought durable, as a storage commitment promises."""

    def free_share(self) -> float:
        """Part of the disk that is free on this machine, where objects lie until they are filed; 0 to 1."""

    def is_crowded(self, most_share: float) -> bool:
        """Whether studies have to go for want of room, where ``most_share`` of it may be used."""

    def probe(self) -> str:
        """Write, read and remove something small; says in a sentence what answered."""


class FolderStore:
    """A folder, on this machine or shared between several."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, key: str) -> Path:
        """The file of ``key``, whether or not it exists. Raises ValueError for a key that would leave the folder."""
        return self.root.joinpath(*check_key(key).split("/"))

    def paths(self, keys: Sequence[str]) -> list[Path]:
        """The files of ``keys``."""
        return list(map(self.path, keys))

    def present(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that have a file."""
        return {key for key in keys if self.path(key).is_file()}

    def put(self, key: str, content: bytes) -> None:
        """Write ``content`` whole or not at all, durable when this returns. Raises OperatorNeeded."""
        target = self.path(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(target)
            for folder in self._folders_to(target):  # else a power cut takes the name, and the content with it
                sync(folder)
        except OSError as fault:
            raise explain(fault) from fault

    def _folders_to(self, path: Path) -> list[Path]:
        return [folder for folder in path.parents if folder.is_relative_to(self.root)]

    def bring(self, sources: Mapping[str, Path]) -> None:
        """By links where the file system has them. Raises OperatorNeeded."""
        try:
            for key, source in sources.items():
                self._bring(self.path(key), source)
        except OSError as fault:
            raise explain(fault) from fault

    def _bring(self, target: Path, source: Path) -> None:
        partial = target.with_name(f".partial-{uuid.uuid4().hex}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, partial)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, partial)
        partial.replace(target)
        partial.unlink(missing_ok=True)  # a second link to one file is not renamed over the first

    @contextmanager
    def folder(self, key: str) -> Iterator[Path]:
        """The place itself."""
        yield self.path(key)

    def read(self, key: str) -> bytes:
        """The content of ``key``. Raises FileNotFoundError."""
        return self.path(key).read_bytes()

    def delete(self, *keys: str) -> None:
        """Remove keys where they exist, and folders that become empty."""
        for path in map(self.path, keys):
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.root:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break

    def sync(self, keys: Iterable[str]) -> None:
        """Make files that were moved in durable, with the folders on the way to them. Raises OSError.

        Several at once: a journaling file system has them share its commits.
        """
        paths = [self.path(key) for key in keys]
        folders = {folder for path in paths for folder in self._folders_to(path)}
        with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
            list(pool.map(sync, paths))
            list(pool.map(sync, folders))

    def free_share(self) -> float:
        """Part of the folder's disk that is free, 0 to 1."""
        return free_share(self.root)

    def is_crowded(self, most_share: float) -> bool:
        """Whether more of the disk is used."""
        return 1 - self.free_share() > most_share

    def probe(self) -> str:
        """Write, and say so. Raises OperatorNeeded."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as file:
                file.write(b"1")
        except OSError as fault:
            raise explain(fault) from fault
        return "The folder can be written."


def free_share(folder: Path) -> float:
    """Part of a folder's disk that is free, 0 to 1, of what can be had of it; the folder is made where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    usage = shutil.disk_usage(folder)
    return usage.free / (usage.used + usage.free)  # as df has it: what is reserved, or beyond a quota, is nobody's


def explain(fault: OSError) -> OperatorNeeded:
    """A disk of ours that cannot be written."""
    reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
    return OperatorNeeded(f"The file store cannot be written: {reason}.", code="store-unwritable")
