"""Multipart bodies (RFC 2046), read and written part by part, never whole in memory."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from fastapi.responses import Response, StreamingResponse

from pneumoscope.server.problems import Problem

MAX_PARTS = 50_000
MAX_HEADER_BYTES = 16_384
_MAX_BOUNDARY_CHARACTERS = 200  # RFC 2046 says 70, DICOM senders say more


def media_type_of(header: str) -> tuple[str, dict[str, str]]:
    """A Content-Type's value as (type, parameters), both empty where it cannot be understood."""
    message = EmailMessage()
    try:
        message["Content-Type"] = header
        return message.get_content_type() if header else "", dict(message["Content-Type"].params)
    except (ValueError, IndexError, AttributeError, TypeError):  # what the email package makes of nonsense
        return "", {}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part as it comes in; ``content`` can be gone through once."""

    headers: dict[str, str]  # names in lower case
    content: Iterator[bytes]

    @property
    def media_type(self) -> str:
        """Content-Type without parameters."""
        return media_type_of(self.headers.get("content-type", ""))[0]

    @property
    def name(self) -> str:
        """What a form calls it; empty where it does not."""
        message = EmailMessage()
        try:
            message["Content-Disposition"] = self.headers.get("content-disposition", "")
            return str(message["Content-Disposition"].params.get("name", ""))
        except (ValueError, IndexError, AttributeError, TypeError):
            return ""

    @property
    def is_file(self) -> bool:
        """Whether a form calls it a file."""
        return "filename" in self.headers.get("content-disposition", "").lower()


class Parts:
    """The parts of a body. Raises Problem for what is no multipart body with that boundary."""

    def __init__(self, chunks: Iterable[bytes], boundary: str) -> None:
        if not 0 < len(boundary) <= _MAX_BOUNDARY_CHARACTERS or not boundary.isascii():
            raise Problem(400, "no-boundary", "The content type of a multipart body needs a boundary.")
        self._chunks = iter(chunks)
        self._delimiter = b"\r\n--" + boundary.encode()
        self._buffer = bytearray(b"\r\n")  # so that a boundary at the very start is one like others

    def __iter__(self) -> Iterator[Part]:
        """Parts in their order; what is left of one when the next is asked for is passed over."""
        for _ in self._until_delimiter():  # the preamble
            pass
        for _ in range(MAX_PARTS):
            if self._is_last():
                return
            part = Part(headers=self._headers(), content=self._until_delimiter())
            yield part
            for _ in part.content:
                pass
        raise Problem(413, "too-many-parts", f"More than {MAX_PARTS} parts.")

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise Problem(400, "body-ends-early", "The multipart body ends before its last boundary.")
        self._buffer += chunk

    def _is_last(self) -> bool:
        while len(self._buffer) < 2:
            self._more()
        return self._buffer[:2] == b"--"

    def _headers(self) -> dict[str, str]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                break
            self._more()
        if not 0 <= end <= MAX_HEADER_BYTES:
            raise Problem(400, "part-header-wrong", f"A part's header is longer than {MAX_HEADER_BYTES} bytes.")
        lines = bytes(self._buffer[:end]).decode("utf-8", "replace").split("\r\n")
        del self._buffer[: end + 2]  # the last line break stays: a part without content ends with it
        headers = (line.partition(":") for line in lines if ":" in line)
        return {name.strip().lower(): value.strip() for name, _, value in headers}

    def _until_delimiter(self) -> Iterator[bytes]:
        """What comes before the next delimiter, which is taken away; of a part's content its first line break too."""
        first = True
        while True:
            at = self._buffer.find(self._delimiter)
            end = at if at >= 0 else max(0, len(self._buffer) - len(self._delimiter))
            if first and (end >= 2 or at >= 0):
                # the line break that ended the header, unless it belongs to the delimiter itself
                del self._buffer[: min(2, end)]
                at, end, first = at - min(2, end) if at >= 0 else at, end - min(2, end), False
            if end > 0 and not first:
                yield bytes(self._buffer[:end])
                del self._buffer[:end]
            if at >= 0:
                del self._buffer[: len(self._delimiter)]
                return
            self._more()


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One part to be sent; ``size`` in bytes, None where it is not known beforehand."""

    media_type: str
    size: int | None
    content: Iterable[bytes]
    location: str = ""


def related_whole(parts: Sequence[Outgoing], *, media_type: str, headers: dict[str, str]) -> Response:
    """The same of parts that are in memory, in one piece: a viewer's many small answers must not go through threads."""
    boundary = secrets.token_hex(16)
    content = b"".join(_head(part, boundary) + b"".join(part.content) for part in parts) + _tail(boundary)
    return Response(content, media_type=_related_type(media_type, boundary), headers=headers)


def related(parts: Iterable[Outgoing], *, media_type: str) -> StreamingResponse:
    """A multipart/related answer, with a length where all parts have one; a part that turns out otherwise breaks it off."""
    boundary = secrets.token_hex(16)
    parts = list(parts)
    heads = [_head(part, boundary) for part in parts]
    tail = _tail(boundary)
    sizes = [part.size for part in parts if part.size is not None]
    length = sum(map(len, heads)) + sum(sizes) + len(tail)

    def stream() -> Iterator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            yield from part.content
        yield tail

    return StreamingResponse(
        stream(),
        media_type=_related_type(media_type, boundary),
        headers={"Content-Length": str(length)} if len(sizes) == len(parts) else {},
    )


def _related_type(media_type: str, boundary: str) -> str:
    return f'multipart/related; type="{media_type}"; boundary={boundary}'


def _tail(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def _head(part: Outgoing, boundary: str) -> bytes:
    lines = [f"--{boundary}", f"Content-Type: {part.media_type}"]
    if part.location:
        lines.append(f"Content-Location: {part.location}")
    if part.size is not None:
        lines.append(f"Content-Length: {part.size}")
    return "".join(f"\r\n{line}" for line in (*lines, "", "")).encode()
