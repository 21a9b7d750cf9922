"""Results to a folder, all of them or none."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Parcel

#: A folder with this file in it is an earlier result and may be replaced; any other folder with content may not.
MARK = "reading.json"


def check_target(folder: Path) -> None:
    """Raise OperatorNeeded where results could not be written, before any work is done."""
    if folder.exists() and not folder.is_dir():
        raise OperatorNeeded("The output path is a file; a new or empty folder is needed.", code="output-not-a-folder")
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise OperatorNeeded(
            "The output folder holds other files; a new or empty folder, or one with an earlier reading, is needed.",
            code="output-not-empty",
        )


def write_all(parcels: Iterable[Parcel], folder: Path) -> None:
    """Write into a hidden folder beside ``folder``, then put it in place; on any fault nothing is left.

    Raises OperatorNeeded for a full disk or a folder that may not be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as fault:
        raise _explain(fault) from fault
    try:
        for parcel in parcels:
            _write(partial / parcel.name, parcel.content)
        partial.chmod(0o755)
        sync(partial)
        old = partial.with_name(partial.name + "-old")
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as fault:
        shutil.rmtree(partial, ignore_errors=True)
        raise _explain(fault) from fault
    except BaseException:  # Ctrl-C too leaves nothing behind
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # some file systems tell of a full disk only now


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, outlive a power cut, where its file system can do so. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as fault:
        if fault.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _explain(fault: OSError) -> OperatorNeeded:
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return OperatorNeeded("The disk for the results is full; nothing was written.", code="disk-full")
    reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
    return OperatorNeeded(f"The results cannot be written: {reason}; nothing was written.", code="output-failed")
