"""C-STORE: the bytes go into the spool as they come, and only once the object is whole is success answered."""

import struct
from dataclasses import dataclass
from typing import Self

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.filing.spool import Incoming
from pneumoscope.receiver.house import Caller, House
from pneumoscope.receiver.metrics import BYTES, REFUSED
from pneumoscope.receiver.room import Room
from pneumoscope.records import Priority, is_uid
from pneumoscope.store import arrivals

#: PS3.4 Table B.2-1 and PS3.7 Annex C.
SUCCESS, OUT_OF_RESOURCES, NOT_MATCHING, CANNOT_UNDERSTAND, CLASS_NOT_SUPPORTED = 0x0000, 0xA700, 0xA900, 0xC000, 0x0122
_PREAMBLE = bytes(128) + b"DICM"
_MB = 1_000_000
#: How long a database that is away is waited for; then the sender is refused and tries again.
PATIENCE_S = 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a C-STORE-RQ says of the object that follows."""

    SOPClassUID: str
    SOPInstanceUID: str
    TransferSyntaxUID: str
    message_id: int
    move_originator: str = ""


class Receiving:
    """One object as it comes in. Once something speaks against it, the rest of it goes nowhere."""

    def __init__(self, incoming: Incoming | None, room: Room | None = None, *, most_bytes: int = 0) -> None:
        self._incoming, self._room, self._most_bytes = incoming, room, most_bytes
        self.size_bytes = 0
        self.status = SUCCESS

    @classmethod
    def refused(cls, status: int) -> Self:
        """One that is refused before it begins."""
        receiving = cls(None)
        receiving.status = status
        return receiving

    def add(self, part: memoryview) -> None:
        """Some of its bytes."""
        if self._incoming is None:
            return
        self.size_bytes += len(part)
        if self.size_bytes > self._most_bytes:
            self._fail(OUT_OF_RESOURCES)
            return
        try:
            self._incoming.add(part)
        except OSError as fault:
            self._failed(fault)

    def end(self) -> int:
        """The whole object came; returns the status to answer."""
        if self._incoming is not None and not self.size_bytes:
            self._fail(CANNOT_UNDERSTAND)
        if self._incoming is not None:
            try:
                self._incoming.keep()
                self._incoming = None
            except OSError as fault:
                self._failed(fault)
        return self.status

    def drop(self) -> None:
        """The rest will never come."""
        if self._incoming is not None:
            self._incoming.drop()
            self._incoming = None

    def refuse(self, status: int) -> None:
        """Something speaks against it, unless something did before."""
        if self.status == SUCCESS:
            self._fail(status)

    def _failed(self, fault: OSError) -> None:
        if self._room:
            self._room.note(fault)
        self._fail(OUT_OF_RESOURCES)

    def _fail(self, status: int) -> None:
        self.status = status
        self.drop()


class Storing:
    """What all associations of this process store through."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._most_bytes = house.settings.dicom.max_object_mb * _MB

    def begin(self, request: Request, caller: Caller) -> Receiving:
        """An object is announced."""
        if not is_uid(request.SOPInstanceUID):
            return Receiving.refused(NOT_MATCHING)
        if not self._house.room.is_there():
            return Receiving.refused(OUT_OF_RESOURCES)
        try:
            with caller.lock:
                if caller.over:  # it is being filed and closed: what comes after that would be left open for ever
                    return Receiving.refused(OUT_OF_RESOURCES)
                if not caller.arrival_id:
                    caller.arrival_id = self._open(caller, self._priority(request, caller))
            incoming = self._house.spool.begin(caller.arrival_id)
        except (OSError, SQLAlchemyError) as fault:
            if isinstance(fault, OSError):
                self._house.room.note(fault)
            return Receiving.refused(OUT_OF_RESOURCES)
        receiving = Receiving(incoming, self._house.room, most_bytes=self._most_bytes)
        receiving.add(memoryview(_PREAMBLE + file_meta(request, caller.calling)))
        receiving.size_bytes = 0
        return receiving

    def end(self, receiving: Receiving, caller: Caller) -> int:
        """The object is over; returns the status to answer."""
        with caller.lock:
            if caller.over:  # ended by us amidst an object: the clerk may have filed what was whole, and removes the rest
                receiving.refuse(OUT_OF_RESOURCES)
            status = receiving.end()
        if status != SUCCESS:
            REFUSED.labels(status=f"0x{status:04X}").inc()
        else:
            caller.images += 1
            BYTES.inc(receiving.size_bytes)
        return status

    def _priority(self, request: Request, caller: Caller) -> Priority:
        """What comes by a move that we asked for is old: only back-filling asks."""
        if request.move_originator == self._house.settings.dicom.ae_title:
            return Priority.BACKFILL
        return Priority[caller.sender.priority.upper()]

    def _open(self, caller: Caller, priority: Priority) -> str:
        house = self._house
        arrival_id = house.store.database.insist(
            lambda db: arrivals.open_arrival(
                db, process_id=house.process_id, channel="dicom", sender=caller.calling, address=caller.address
            ),
            patience_s=PATIENCE_S,
        )
        house.priorities[arrival_id] = priority
        house.spool.open(arrival_id)
        return arrival_id


def file_meta(request: Request, sender: str) -> bytes:
    """File Meta Information (PS3.10 7.1), Explicit VR Little Endian; by hand, since the library takes a millisecond for it."""
    version = struct.pack("<HH2sHIH", 2, 1, b"OB", 0, 2, 0x0100)
    rest = version + b"".join(
        struct.pack("<HH2sH", 2, element, vr, len(value) + len(value) % 2)
        + value
        + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        for element, vr, value in (
            (0x0002, b"UI", request.SOPClassUID.encode("ascii")),
            (0x0003, b"UI", request.SOPInstanceUID.encode("ascii")),
            (0x0010, b"UI", request.TransferSyntaxUID.encode("ascii")),
            (0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID.encode("ascii")),
            (0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION.encode("ascii")),
            (0x0016, b"AE", sender.encode("ascii", "replace")),
        )
    )
    return struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(rest)) + rest
