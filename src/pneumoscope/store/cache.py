"""Copies of stored files on this machine's disk: those least recently used go first; several processes share the folder."""

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

#: A copy that was handed out stays so long, however full the cache is: a reading opens its files within this time.
GRACE_S = 1800.0
#: What a process that died left half made goes after this time.
LEFT_OVER_S = 86_400.0
#: The whole folder is looked over again once a process has added this share of what may be kept.
_TRIM_AFTER = 0.02
_PARTIAL = ".partial-"


class Cache:
    """``most_bytes``: as much is kept, and less where more than ``most_share`` of the disk is used. Raises OSError."""

    def __init__(self, root: Path, *, most_bytes: int, most_share: float, grace_s: float = GRACE_S) -> None:
        self.root = root.absolute()
        self._most_bytes, self._most_share, self._grace_s = most_bytes, most_share, grace_s
        self._untrimmed_bytes = most_bytes  # of a process before us
        self._lock = threading.Lock()

    def place(self, key: str) -> Path:
        """Where the copy of ``key`` lies, if there is one."""
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.root / name[:2] / f"{name}{Path(key).suffix}"

    def find(self, key: str) -> Path | None:
        """The copy of ``key``, from now on the last to go."""
        path = self.place(key)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def add(self, key: str, content: Iterable[bytes | memoryview]) -> Path:
        """Keep what comes as the copy of ``key``."""
        target = self.place(key)
        handle, name = self._begin(target)
        try:
            with os.fdopen(handle, "wb") as file:
                for part in content:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())  # after a power cut a copy is whole or not there
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._added(target.stat().st_size)
        return target

    def adopt(self, key: str, source: Path) -> None:
        """Have the copy of ``key`` without copying, where ``source`` lies on the same disk."""
        target = self.place(key)
        handle, name = self._begin(target)
        os.close(handle)
        partial = Path(name)
        partial.unlink()
        try:
            os.link(source, partial)
        except OSError:  # another disk: it is fetched when it is asked for
            return
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
        partial.unlink(missing_ok=True)  # a second link to one file is not renamed over the first
        self._added(target.stat().st_size)

    def drop(self, key: str) -> None:
        """Forget the copy of ``key``."""
        self.place(key).unlink(missing_ok=True)

    def _begin(self, target: Path) -> tuple[int, str]:
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.mkstemp(prefix=_PARTIAL, dir=target.parent)

    def _added(self, size_bytes: int) -> None:
        with self._lock:
            self._untrimmed_bytes += size_bytes
            if self._untrimmed_bytes < self._most_bytes * _TRIM_AFTER:
                return
            self._untrimmed_bytes = 0
        self.trim()

    def trim(self) -> None:
        """Remove what was used least recently, until the rest is within the bounds."""
        moment_s = time.time()
        copies: list[tuple[float, int, Path]] = []
        for path in self.root.glob("*/*"):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            if not path.name.startswith(_PARTIAL):
                copies.append((found.st_mtime, found.st_size, path))
            elif moment_s - found.st_mtime > LEFT_OVER_S:
                path.unlink(missing_ok=True)
        disk = shutil.disk_usage(self.root)
        excess = max(
            sum(size for _, size, _ in copies) - self._most_bytes, disk.used - self._most_share * (disk.used + disk.free)
        )
        for used_s, size_bytes, path in sorted(copies):
            if excess <= 0 or moment_s - used_s < self._grace_s:
                return
            path.unlink(missing_ok=True)
            excess -= size_bytes
