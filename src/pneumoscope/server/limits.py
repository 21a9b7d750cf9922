"""A request's body as a stream that cannot be too long, too slow, or packed."""

from collections.abc import AsyncIterator, Iterator

import anyio
import anyio.from_thread
from fastapi import Request

from pneumoscope.server.desk import Desk
from pneumoscope.server.problems import Problem
from pneumoscope.server.watch import has_room

#: A client that sends nothing for so long is given up.
SILENCE_S = 60.0
_LOOK_AT_DISK_EVERY_BYTES = 64 * 2**20


def body(request: Request, desk: Desk) -> Iterator[bytes]:
    """Chunks of the body, for use in a worker thread. Raises Problem at once where it cannot be taken, or while it comes."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "packed-body", "A body with a content encoding is not taken; send it as it is.")
    limit_bytes = desk.settings.http.max_upload_mb * 2**20
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > limit_bytes:
        raise _too_large(limit_bytes)
    return _chunks(request.stream(), desk, limit_bytes)


def _chunks(stream: AsyncIterator[bytes], desk: Desk, limit_bytes: int) -> Iterator[bytes]:
    """What was told of the length counts for nothing: bytes are counted as they come."""
    seen, looked_at = 0, -_LOOK_AT_DISK_EVERY_BYTES
    while (chunk := anyio.from_thread.run(_next, stream)) is not None:
        seen += len(chunk)
        if seen > limit_bytes:
            raise _too_large(limit_bytes)
        if seen - looked_at >= _LOOK_AT_DISK_EVERY_BYTES:
            looked_at = seen
            if not has_room(desk):
                raise Problem(503, "disk-full", "The disk is nearly full; nothing more is taken.")
        yield chunk


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    try:
        with anyio.fail_after(SILENCE_S):
            return await anext(stream)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        raise Problem(408, "too-slow", f"Nothing came for {SILENCE_S:.0f} s.") from None


def _too_large(limit_bytes: int) -> Problem:
    return Problem(413, "body-too-large", f"The body is larger than the {limit_bytes // 2**20} MB that are allowed.")
