"""Results into a folder, one folder within it for each reading."""

import os
import shutil
import uuid
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pneumoscope.delivery import Outcome, Receipt, Shipment
from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.output import write_all


@dataclass(frozen=True, kw_only=True)
class Folder:
    """All parcels into ``path/<reading_id>/``, all of them or none; what lies there already is not written again."""

    name: str
    path: Path

    def deliver(self, shipment: Shipment) -> Receipt:
        """Write beside, under a hidden name, then rename: who watches the folder never sees half a reading."""
        self._check()
        key = str(uuid.UUID(shipment.reading_id))  # a UUID in its plain spelling leads to no other folder
        target, count = self.path / key, len(shipment.parcels)
        for left in self.path.glob(f".{key}-*"):  # by a delivery that was cut off
            shutil.rmtree(left, ignore_errors=True)
        if _digests(target) == {parcel.name: sha256(parcel.content).digest() for parcel in shipment.parcels}:
            return Receipt(outcome=Outcome.DELIVERED, sent=count, detail="The same files lie there already.")
        write_all(shipment.parcels, target)
        return Receipt(outcome=Outcome.DELIVERED, sent=count, detail=f"{count} files were written.")

    def probe(self) -> str:
        """Write and remove a hidden file."""
        self._check()
        trial = self.path / f".pneumoscope-{uuid.uuid4()}"
        try:
            trial.write_bytes(b"")
            trial.unlink()
        except OSError as fault:
            reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
            raise OperatorNeeded(f"The folder cannot be written: {reason}.", code="output-failed") from fault
        return "The folder can be written."

    def _check(self) -> None:
        # never made here: a share that is not mounted would be a folder on our own disk, where nobody looks
        try:
            there = self.path.is_dir()
        except OSError as fault:  # a share whose server is away
            raise _unreachable(fault) from fault
        if not there:
            raise RetryLater("The folder is not there; it may be a share that is not mounted.", code="folder-missing")


def _digests(folder: Path) -> dict[str, bytes]:
    """SHA-256 of each file in it; empty where there is no such folder."""
    try:
        return {file.name: sha256(file.read_bytes()).digest() for file in folder.iterdir() if file.is_file()}
    except FileNotFoundError:
        return {}
    except OSError as fault:
        raise _unreachable(fault) from fault


def _unreachable(fault: OSError) -> RetryLater:
    reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
    return RetryLater(f"The folder cannot be read: {reason}.", code="folder-unreadable")
