"""C-STORE: the bytes go into the spool as they came, and only then is success answered."""

import errno
import struct
import time
from typing import cast

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from pneumoscope.receiver.house import Caller, House
from pneumoscope.receiver.metrics import BYTES, REFUSED
from pneumoscope.store import arrivals
from pneumoscope.store.files import is_uid
from pneumoscope.store.schema import Priority

#: PS3.4 Table B.2-1.
SUCCESS, OUT_OF_RESOURCES, NOT_MATCHING, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000
_PREAMBLE = bytes(128) + b"DICM"
_MB = 1_000_000
#: The disk is asked how full it is so often, in seconds.
ASK_DISK_EVERY_S = 1.0


class Storing:
    """What all associations of this process store through."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._most_bytes = house.settings.dicom.max_object_mb * _MB
        self._asked_s, self._full = -ASK_DISK_EVERY_S, False

    def store(self, event: Event, caller: Caller) -> int:
        """The status to answer."""
        status = self._store(event, caller)
        if status != SUCCESS:
            REFUSED.labels(status=f"0x{status:04X}").inc()
        return status

    def _store(self, event: Event, caller: Caller) -> int:
        request = cast(C_STORE, event.request)
        if not is_uid(str(request.AffectedSOPInstanceUID or "")):
            return NOT_MATCHING
        content = event.encoded_dataset(include_meta=False)
        meta = file_meta(request.AffectedSOPClassUID or "", request.AffectedSOPInstanceUID or "", event.context.transfer_syntax)
        if not content:
            return CANNOT_UNDERSTAND
        if len(content) > self._most_bytes or self._disk_is_full():
            return OUT_OF_RESOURCES
        try:
            if not caller.arrival_id:
                caller.arrival_id = self._open(caller, self._priority(event, caller))
            self._house.spool.write_parts(caller.arrival_id, _PREAMBLE, meta, content)
        except OSError as fault:
            self._full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
            self._asked_s = time.monotonic()
            return OUT_OF_RESOURCES
        caller.images += 1
        BYTES.inc(len(content))
        return SUCCESS

    def _priority(self, event: Event, caller: Caller) -> Priority:
        """What comes by a move that we asked for is old: only back-filling asks."""
        if cast(C_STORE, event.request).MoveOriginatorApplicationEntityTitle == self._house.settings.dicom.ae_title:
            return Priority.BACKFILL
        return Priority[caller.sender.priority.upper()]

    def _open(self, caller: Caller, priority: Priority) -> str:
        house = self._house
        arrival_id = house.store.database.insist(
            lambda db: arrivals.open_arrival(
                db, process_id=house.process_id, channel="dicom", sender=caller.calling, address=caller.address
            ),
            patience_s=20,  # then the sender is refused and tries again
        )
        house.priorities[arrival_id] = priority
        house.spool.open(arrival_id)
        return arrival_id

    def _disk_is_full(self) -> bool:
        moment_s = time.monotonic()
        if moment_s - self._asked_s > ASK_DISK_EVERY_S:
            self._asked_s = moment_s
            self._full = self._house.store.files.free_share() < self._house.settings.disk.watermark
        return self._full


def file_meta(SOPClassUID: str, SOPInstanceUID: str, TransferSyntaxUID: str) -> bytes:
    """File Meta Information (PS3.10 7.1), Explicit VR Little Endian; by hand, since the library takes a millisecond for it."""
    version = struct.pack("<HH2sHIH", 2, 1, b"OB", 0, 2, 0x0100)
    rest = version + b"".join(
        struct.pack("<HH2sH", 2, element, vr, len(value) + len(value) % 2)
        + value
        + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        for element, vr, value in (
            (0x0002, b"UI", SOPClassUID.encode("ascii")),
            (0x0003, b"UI", SOPInstanceUID.encode("ascii")),
            (0x0010, b"UI", TransferSyntaxUID.encode("ascii")),
            (0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID.encode("ascii")),
            (0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION.encode("ascii")),
        )
    )
    return struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(rest)) + rest
