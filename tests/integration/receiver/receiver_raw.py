"""Associations by hand, for what no decent library sends."""

import socket
import struct

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

CT, EXPLICIT, VERIFICATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.1"


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def associate_rq(*, contexts: dict[int, str], calling: str = "CT1", called: str = "PNEUMOSCOPE") -> bytes:
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, abstract in contexts.items():
        inner = _item(0x30, abstract.encode()) + _item(0x40, EXPLICIT.encode())
        items += _item(0x20, bytes([number, 0, 0, 0]) + inner)
    user = _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3")
    items += _item(0x50, user)
    body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode()) + items
    return struct.pack(">BxL", 1, len(body)) + body


def read_pdu(sock: socket.socket) -> tuple[int, bytes]:
    head = _exactly(sock, 6)
    kind, length = struct.unpack(">BxL", head)
    return kind, _exactly(sock, length)


def _exactly(sock: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        part = sock.recv(count - len(content))
        if not part:
            raise ConnectionError("closed")
        content += part
    return content


def associated(sock: socket.socket) -> socket.socket:
    sock.sendall(associate_rq(contexts={1: CT, 3: VERIFICATION}))
    kind, _ = read_pdu(sock)
    assert kind == 2
    return sock


def command(*, uid: bytes | None, message_id: int = 1, sop_class: str = CT, field: int = 1, data_set: int = 0) -> bytes:
    values = [
        (0x0002, _even(sop_class.encode())),
        (0x0100, struct.pack("<H", field)),
        (0x0110, struct.pack("<H", message_id)),
        (0x0700, struct.pack("<H", 0)),
        (0x0800, struct.pack("<H", data_set)),
    ]
    if uid is not None:
        values.append((0x1000, _even(uid)))
    rest = b"".join(struct.pack("<HHL", 0, element, len(value)) + value for element, value in values)
    return struct.pack("<HHLL", 0, 0, 4, len(rest)) + rest


def _even(content: bytes) -> bytes:
    return content + b"\0" * (len(content) % 2)


def pdv(content: bytes, *, control: int, context: int = 1) -> bytes:
    return struct.pack(">LBB", len(content) + 2, context, control) + content


def p_data(*values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack(">BxL", 4, len(body)) + body


def encoded(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def status_of(body: bytes) -> int:
    """Status of a C-STORE-RSP."""
    at = body.index(struct.pack("<HHL", 0, 0x0900, 2)) + 8
    return int.from_bytes(body[at : at + 2], "little")


def store(sock: socket.socket, dataset: Dataset, *, uid: bytes | None = None, message_id: int = 1, step: int = 16000) -> int:
    """A whole C-STORE in PDUs of ``step`` bytes; returns the status."""
    name = uid if uid is not None else str(dataset.SOPInstanceUID).encode()
    sock.sendall(p_data(pdv(command(uid=name, message_id=message_id), control=3)))
    content = encoded(dataset)
    for start in range(0, len(content), step):
        last = start + step >= len(content)
        sock.sendall(p_data(pdv(content[start : start + step], control=2 if last else 0)))
    kind, body = read_pdu(sock)
    assert kind == 4
    return status_of(body)


RELEASE_RQ = struct.pack(">BxL4x", 5, 4)
ABORT = struct.pack(">BxL4x", 7, 4)
