"""Where objects and results lie: a folder that every process of the node can reach, keys being relative paths."""

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pneumoscope.errors import OperatorNeeded

#: A UID as PS3.5 9.1 has it, but for leading zeros, which real scanners write.
UID = re.compile(r"[0-9]+(\.[0-9]+)*")
MAX_UID_CHARACTERS = 64
_SYNCS_AT_ONCE = 16
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_uid(text: str) -> bool:
    """Whether ``text`` may name a study, series or object, and so touch a path."""
    return len(text) <= MAX_UID_CHARACTERS and UID.fullmatch(text) is not None


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


class FolderStore:
    """A folder, on this machine or shared between several."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, key: str) -> Path:
        """The file of ``key``, whether or not it exists. Raises ValueError for a key that would leave the folder."""
        parts = key.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise ValueError("a key has parts of letters, digits, dots, hyphens and underscores")
        return self.root.joinpath(*parts)

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
        except OSError as fault:
            raise _explain(fault) from fault

    def bring(self, key: str, source: Path) -> None:
        """Have ``key`` hold what ``source`` holds, which stays; whole or not at all. Raises OperatorNeeded."""
        target = self.path(key)
        partial = target.with_name(f".partial-{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, partial)
            except OSError:  # another file system, or one without links
                shutil.copyfile(source, partial)
            partial.replace(target)
            partial.unlink(missing_ok=True)  # a second link to one file is not renamed over the first
        except OSError as fault:
            raise _explain(fault) from fault

    def read(self, key: str) -> bytes:
        """The content of ``key``. Raises FileNotFoundError."""
        return self.path(key).read_bytes()

    def delete(self, key: str) -> None:
        """Remove ``key`` where it exists, and folders that become empty."""
        path = self.path(key)
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
        folders = {folder for path in paths for folder in path.parents if folder.is_relative_to(self.root)}
        with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
            list(pool.map(_fsync, paths))
            list(pool.map(_fsync, folders))

    def free_share(self) -> float:
        """Part of the disk that is free, 0 to 1."""
        self.root.mkdir(parents=True, exist_ok=True)
        usage = shutil.disk_usage(self.root)
        return usage.free / usage.total


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(fault: OSError) -> OperatorNeeded:
    reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
    return OperatorNeeded(f"The file store cannot be written: {reason}.", code="store-unwritable")
