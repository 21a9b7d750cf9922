"""Where received objects lie until they are filed: a folder for each arrival, a file for each object."""

import itertools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

_SUFFIX = ".dcm"


class Spool:
    """A folder of this machine. A file that bears its final name is whole."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._numbers = itertools.count()

    def open(self, arrival_id: str) -> None:
        """Make room for an arrival."""
        (self.root / arrival_id).mkdir(parents=True, exist_ok=True)

    def write(self, arrival_id: str, content: Iterable[bytes] | bytes) -> Path:
        """Keep an object: a DICOM file whose preamble is cleared, since it can hold a program. Raises OSError."""
        name = f"{next(self._numbers):08d}-{os.getpid()}"
        partial = self.root / arrival_id / f"{name}.part"
        try:
            with partial.open("wb") as file:
                for part in (content,) if isinstance(content, bytes) else content:
                    file.write(part)
                _clear_preamble(partial, file.tell())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        whole = partial.with_suffix(_SUFFIX)
        partial.rename(whole)
        return whole

    def write_parts(self, arrival_id: str, *parts: bytes) -> Path:
        """The same for parts that begin with a cleared preamble already, in one call to the system."""
        name = f"{next(self._numbers):08d}-{os.getpid()}"
        partial = self.root / arrival_id / f"{name}.part"
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            left = sum(map(len, parts)) - os.writev(handle, parts)
            if left:  # the disk took less than all: the rest tells why
                os.write(handle, b"".join(parts)[-left:])
                raise OSError("not all was written")
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        whole = partial.with_suffix(_SUFFIX)
        partial.rename(whole)
        return whole

    def waiting(self, arrival_id: str) -> list[Path]:
        """Whole files of an arrival, in the order that they came."""
        return sorted((self.root / arrival_id).glob(f"*{_SUFFIX}"))

    def arrivals(self) -> list[str]:
        """Arrivals that have a folder."""
        return sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []

    def remove(self, arrival_id: str) -> None:
        """Forget an arrival whose files are filed."""
        shutil.rmtree(self.root / arrival_id, ignore_errors=True)


def _clear_preamble(path: Path, size_bytes: int) -> None:
    if size_bytes < 132:
        return
    with path.open("r+b") as file:
        file.seek(128)
        if file.read(4) == b"DICM":
            file.seek(0)
            file.write(bytes(128))
