"""The fast lane: C-STORE straight from the socket into the spool, in the thread that reads the network.

pynetdicom collects a whole message in memory, in several copies, before anyone sees it, and takes PDUs of any declared length.
Here a PDU is read into one buffer of bounded size and its part of an object goes to the disk at once, so that neither long PDUs
nor large objects cost memory. Operations with many answers speak and listen in this thread too, see ``operation.py``. All other
messages take the library's own way. PS3.7 9.3.1, PS3.8 9.3.5 and Annex E.
"""

import select
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from pynetdicom import pdu
from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from pneumoscope.receiver.house import Caller
from pneumoscope.receiver.storing import CANNOT_UNDERSTAND, CLASS_NOT_SUPPORTED, Receiving, Request, Storing

ESTABLISHED = "Sta6"
LOST, MALFORMED = "Evt17", "Evt19"
P_DATA_TF, PDU_KINDS = 0x04, range(0x01, 0x08)
C_STORE_RQ, C_STORE_RSP, C_CANCEL_RQ, NO_DATA_SET = 0x0001, 0x8001, 0x0FFF, 0x0101
#: A request for an association with many presentation contexts takes 100 kB.
LEAST_BUFFER_BYTES = 256 * 1024
#: Command sets take a few hundred bytes; requests to commit 100,000 objects some 15 MB.
MOST_COMMAND_BYTES, MOST_OTHER_BYTES = 64 * 1024, 64 * 2**20
COMMAND, LAST = 1, 2  # bits of a message control header
#: Within this time a connection has to ask for an association whole, however slowly its peer drips.
UNANSWERED_S = 30.0
#: Of what we send: peers may take PDUs of any length, and those that take less than the least would have a study in crumbs.
LEAST_PDU_BYTES, MOST_PDU_BYTES = 1024, 131_072
log = structlog.get_logger()


class Malformed(ValueError):
    """What the peer sends is no DICOM; the association is aborted."""


class Over(Exception):
    """The peer has left, or somebody ends the association, while an operation goes on."""


class Lane(DULServiceProvider):
    """Reads the network for one association. ``operate``: carries out a request with many answers, in this thread."""

    def __init__(
        self, assoc: Association, storing: Storing, operate: "Callable[[Lane, int, Any], None]", *, most_pdu_bytes: int
    ) -> None:
        super().__init__(assoc)
        self.daemon = True
        self.caller: Caller | None = None
        self.operating = False
        self._operate = operate
        self._begun_s = time.monotonic()
        self._asked: tuple[int, Any] | None = None
        self._heard: deque[Any] = deque()
        self._storing = storing
        self._buffer = memoryview(bytearray(6 + max(most_pdu_bytes, LEAST_BUFFER_BYTES)))
        self._command = bytearray()
        self._other_bytes = 0
        self._object: tuple[int, Request, Receiving] | None = None

    def run_reactor(self) -> None:
        """Until the association is over."""
        try:
            super().run_reactor()
        finally:
            self._drop()

    def _read_pdu_data(self) -> None:
        """Called by the library where there is something to read; goes on while objects come."""
        try:
            while self._read_pdu() and self._carry_out() and self._goes_on():
                self._idle_timer.restart()
        except OSError:
            self._drop()
            self.event_queue.put(LOST)
        except Exception:
            log.info("An association sent what cannot be understood and is aborted", exc_info=True)
            self._drop()
            self.event_queue.put(MALFORMED)

    def _goes_on(self) -> bool:
        if self._kill_thread or not self.to_provider_queue.empty() or not self.event_queue.empty():
            return False
        return self._object is not None or (self.socket is not None and self.socket.ready)

    def _must_end(self) -> bool:
        """Of an operation: whether the association is released or aborted, by whomever; answers to other requests can wait."""
        ending = any(not isinstance(primitive, P_DATA) for primitive in list(self.to_provider_queue.queue))
        return ending or self._kill_thread or not self.event_queue.empty()

    def ask(self, context_id: int, request: Any) -> None:  # noqa: ANN401 - one of the library's primitives
        """A request with many answers came; it is carried out once the PDU that brought it is read. Raises Malformed."""
        if self._asked or not request.is_valid_request:
            raise Malformed
        self._asked = (context_id, request)

    def answered(self, message: Any) -> None:  # noqa: ANN401 - one of the library's primitives
        """The peer answered what an operation sent it."""
        self._heard.append(message)

    def _carry_out(self) -> bool:
        """What was asked, if anything; False where the association ended meanwhile."""
        if not self._asked:
            return True
        self.operating = True
        try:
            self._operate(self, *self._asked)
        except Over:
            return False
        finally:
            self._asked, self.operating = None, False
            self._heard.clear()
            self.assoc.dimse.cancel_req = {}
            self._idle_timer.restart()
        return True

    def idle_timer_expired(self) -> bool:
        """Of an association that is silent while nothing goes on."""
        return not self.operating and super().idle_timer_expired()

    def hear(self, wait_s: float) -> Any:  # noqa: ANN401 - one of the library's primitives
        """The peer's next answer to what an operation sent, None after ``wait_s``. Raises Over, Malformed, OSError."""
        give_up_at = time.monotonic() + wait_s
        while True:
            if self._must_end():
                raise Over
            if self._heard:
                return self._heard.popleft()
            left_s = max(0.0, give_up_at - time.monotonic())
            if readable(self.socket and self.socket.socket, min(left_s, 0.1)):
                if not self._read_pdu():
                    raise Over
            elif not left_s:
                return None

    def say(self, message: DIMSEMessage, context_id: int) -> None:
        """Send a message of an operation, in this thread, part by part. Raises Over, Malformed, OSError."""
        limit = self.assoc.requestor.maximum_length or MOST_PDU_BYTES
        if limit < LEAST_PDU_BYTES:
            raise Malformed
        for part in message.encode_msg(context_id, min(limit, MOST_PDU_BYTES)):
            sock: Any = self.socket and self.socket.socket
            if self._must_end() or not sock:
                raise Over
            sock.sendall(pdu.P_DATA_TF(part).encode())

    def _read_pdu(self) -> bool:
        """Read one PDU; False where it is not for the lane."""
        self._fill(self._buffer[:6])
        kind, length = self._buffer[0], int.from_bytes(self._buffer[2:6], "big")
        if kind not in PDU_KINDS or 6 + length > len(self._buffer):
            raise Malformed
        self._fill(self._buffer[6 : 6 + length])
        if kind == P_DATA_TF and self.state_machine.current_state == ESTABLISHED:
            self._take(self._buffer[6 : 6 + length])
            return True
        self._drop()
        found, event = self._decode_pdu(bytearray(self._buffer[: 6 + length]))
        self.event_queue.put(event)
        self._recv_pdu.put(found)
        return False

    def _fill(self, view: memoryview) -> None:
        sock: Any = self.socket and self.socket.socket  # another thread may close it at any time
        while view:
            if self.caller is None and time.monotonic() - self._begun_s > UNANSWERED_S:
                raise ConnectionResetError
            count = sock.recv_into(view) if sock else 0
            if not count:
                raise ConnectionResetError
            view = view[count:]

    def _take(self, values: memoryview) -> None:
        """Presentation data values of one PDU."""
        while values:
            end = 4 + int.from_bytes(values[:4], "big")
            if not 6 <= end <= len(values):
                raise Malformed
            self._take_fragment(values[4], values[5], values[6:end])
            values = values[end:]

    def _take_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        if control & COMMAND:
            self._command += fragment
            if self._object or len(self._command) > MOST_COMMAND_BYTES:
                raise Malformed
            if control & LAST:
                command, self._command = bytes(self._command), bytearray()
                self._begin(context_id, command)
        elif self._object:
            self._object[2].add(fragment)
            if control & LAST:
                self._answer(*self._object)
        else:
            self._pass_on(context_id, control, bytes(fragment))

    def _begin(self, context_id: int, command: bytes) -> None:
        elements = read_command(command)
        kind = int.from_bytes(elements[0x0100], "little")
        if (self.operating or self._asked) and kind not in (C_STORE_RSP, C_CANCEL_RQ):
            raise Malformed  # one operation at a time, as nothing else was negotiated (PS3.7 D.3.3.3)
        if kind != C_STORE_RQ:
            self._other_bytes = 0
            self._pass_on(context_id, COMMAND | LAST, command)
            return
        context = self.assoc._accepted_cx.get(context_id)
        if context is None or self.caller is None:
            raise Malformed
        request = Request(
            SOPClassUID=elements[0x0002].rstrip(b"\0 ").decode("ascii", "replace"),
            SOPInstanceUID=elements[0x1000].rstrip(b"\0 ").decode("ascii", "replace"),
            TransferSyntaxUID=context.transfer_syntax[0],
            message_id=int.from_bytes(elements[0x0110], "little"),
            move_originator=elements.get(0x1030, b"").strip(b"\0 ").decode("ascii", "replace"),
        )
        if request.SOPClassUID != context.abstract_syntax or not context.as_scp:
            receiving = Receiving.refused(CLASS_NOT_SUPPORTED)
        elif int.from_bytes(elements[0x0800], "little") == NO_DATA_SET:
            self._answer(context_id, request, Receiving.refused(CANNOT_UNDERSTAND))
            return
        else:
            receiving = self._storing.begin(request, self.caller)
        self._object = (context_id, request, receiving)

    def _answer(self, context_id: int, request: Request, receiving: Receiving) -> None:
        self._object = None
        assert self.caller is not None, "objects begin only with who was let in"
        status = self._storing.end(receiving, self.caller)
        sock: Any = self.socket and self.socket.socket
        if not sock:
            raise ConnectionResetError
        sock.sendall(response(context_id, request, status))

    def _pass_on(self, context_id: int, control: int, fragment: bytes) -> None:
        """The library's own way, which keeps a whole message in memory: bounded here."""
        self._other_bytes += len(fragment)
        if self._other_bytes > MOST_OTHER_BYTES or not self.assoc._accepted_cx.get(context_id):
            raise Malformed
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, bytes([control]) + fragment))
        self.assoc.dimse.receive_primitive(primitive)

    def _drop(self) -> None:
        """What came by halves is nothing."""
        if self._object:
            self._object[2].drop()
            self._object = None


def readable(sock: Any, wait_s: float) -> bool:  # noqa: ANN401 - a socket, with TLS or without, or None
    """Whether there is something to read within ``wait_s``. Raises OSError."""
    if sock is None:
        raise ConnectionResetError
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    try:
        return bool(select.select([sock], [], [], wait_s)[0])
    except ValueError as fault:  # closed meanwhile
        raise ConnectionResetError from fault


def read_command(content: bytes) -> dict[int, bytes]:
    """Values of a command set by their element numbers: Implicit VR Little Endian, group 0000 (PS3.7 6.3). Raises Malformed."""
    elements, offset = {}, 0
    while offset < len(content):
        if len(content) < offset + 8:
            raise Malformed
        group, element, length = struct.unpack_from("<HHL", content, offset)
        offset += 8 + length
        if group or offset > len(content):
            raise Malformed
        elements[element] = content[offset - length : offset]
    return elements


def response(context_id: int, request: Request, status: int) -> bytes:
    """A P-DATA-TF PDU with the C-STORE-RSP (PS3.7 9.3.1.2)."""
    rest = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value
        for element, value in (
            (0x0002, _uid(request.SOPClassUID)),
            (0x0100, struct.pack("<H", C_STORE_RSP)),
            (0x0120, struct.pack("<H", request.message_id)),
            (0x0800, struct.pack("<H", NO_DATA_SET)),
            (0x0900, struct.pack("<H", status)),
            (0x1000, _uid(request.SOPInstanceUID)),
        )
    )
    command = struct.pack("<HHLL", 0, 0, 4, len(rest)) + rest
    value = struct.pack(">LBB", len(command) + 2, context_id, COMMAND | LAST) + command
    return struct.pack(">BxL", P_DATA_TF, len(value)) + value


def _uid(text: str) -> bytes:
    content = text.encode("ascii", "replace")[:64]
    return content + b"\0" * (len(content) % 2)
