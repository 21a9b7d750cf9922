"""Where received objects lie until they are filed: a folder for each arrival, a file for each object."""

import itertools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

_SUFFIX = ".dcm"
PREAMBLE_BYTES = 128
_MAGIC = b"DICM"


class Incoming:
    """One object on its way in; its file bears its final name only once it is whole. Raises OSError."""

    def __init__(self, folder: Path, name: str) -> None:
        self._partial = folder / f"{name}.part"
        self._file = self._partial.open("xb", buffering=0)

    def add(self, part: bytes | memoryview) -> None:
        """Write what comes next, all of it."""
        written = self._file.write(part)
        while written < len(part):  # a disk that is nearly full takes less than all, and then tells why
            written += self._file.write(part[written:])

    def keep(self) -> Path:
        """It is whole: give it its final name."""
        self._file.close()
        whole = self._partial.with_suffix(_SUFFIX)
        self._partial.rename(whole)
        return whole

    def drop(self) -> None:
        """It will never be whole: leave nothing of it."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


class Spool:
    """A folder of this machine. A file that bears its final name is whole."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._numbers = itertools.count()

    def open(self, arrival_id: str) -> None:
        """Make room for an arrival."""
        (self.root / arrival_id).mkdir(parents=True, exist_ok=True)

    def begin(self, arrival_id: str) -> Incoming:
        """An object begins to come in. Raises OSError."""
        return Incoming(self.root / arrival_id, f"{next(self._numbers):08d}-{os.getpid()}")

    def write(self, arrival_id: str, content: Iterable[bytes] | bytes) -> Path:
        """Keep an object: a DICOM file whose preamble is cleared, since it can hold a program. Raises OSError."""
        incoming = self.begin(arrival_id)
        try:
            start: bytes | None = b""
            for part in (content,) if isinstance(content, bytes) else content:
                if start is None:
                    incoming.add(part)
                    continue
                start += part
                if len(start) >= PREAMBLE_BYTES + len(_MAGIC):
                    incoming.add(_without_preamble(start))
                    start = None
            if start:
                incoming.add(start)
        except BaseException:
            incoming.drop()
            raise
        return incoming.keep()

    def waiting(self, arrival_id: str) -> list[Path]:
        """Whole files of an arrival, in the order that they came."""
        return sorted((self.root / arrival_id).glob(f"*{_SUFFIX}"))

    def arrivals(self) -> list[str]:
        """Arrivals that have a folder."""
        return sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []

    def remove(self, arrival_id: str) -> None:
        """Forget an arrival whose files are filed."""
        shutil.rmtree(self.root / arrival_id, ignore_errors=True)


def _without_preamble(start: bytes) -> bytes:
    if start[PREAMBLE_BYTES : PREAMBLE_BYTES + len(_MAGIC)] != _MAGIC:
        return start
    return bytes(PREAMBLE_BYTES) + start[PREAMBLE_BYTES:]
