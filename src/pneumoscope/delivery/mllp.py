"""HL7's Minimal Lower Layer Protocol (release 1), and the acknowledgement that comes back over it."""

import socket
from typing import NamedTuple

from pneumoscope.errors import RetryLater

START, END = b"\x0b", b"\x1c\r"
MAX_ACK_BYTES = 65_536


class Ack(NamedTuple):
    """MSA-1, MSA-2, and ERR-3 (table 0357) where there is one."""

    code: str
    control_id: str
    error: str


def exchange(sock: socket.socket, message: bytes) -> bytes:
    """Send one message, wait for one. Raises OSError, or RetryLater where what comes back is no MLLP."""
    sock.sendall(START + message + END)
    answer = bytearray()
    while END not in answer:
        chunk = sock.recv(4096)
        if not chunk:
            raise ConnectionResetError
        answer += chunk
        if len(answer) > MAX_ACK_BYTES:
            raise RetryLater(f"The acknowledgement is longer than {MAX_ACK_BYTES} bytes.", code="peer-answer-odd")
    begin = answer.find(START)
    if begin == -1:
        raise RetryLater("The peer's answer is no MLLP message.", code="peer-answer-odd")
    return bytes(answer[begin + 1 : answer.index(END)])


def parse_ack(answer: bytes) -> Ack:
    """The acknowledgement, whatever its delimiter. Raises RetryLater where it is none."""
    segments = answer.decode("utf-8", errors="replace").replace("\n", "\r").split("\r")
    if not segments[0].startswith("MSH") or len(segments[0]) < 8:
        raise RetryLater("The peer's answer is no HL7 message.", code="peer-answer-odd")
    field, component = segments[0][3], segments[0][4]
    rows = {row[0]: row for segment in reversed(segments) if (row := segment.split(field))}  # the first of each name
    msa, err = [*rows.get("MSA", []), "", "", ""], [*rows.get("ERR", []), "", "", "", ""]
    return Ack(msa[1].strip().upper(), msa[2].strip(), err[3].split(component)[0].strip())
