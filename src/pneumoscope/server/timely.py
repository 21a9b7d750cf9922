"""HTTP with people who say in time what they want."""

import asyncio
import time
from typing import Any

from starlette.types import Message, Receive
from uvicorn.protocols.http.h11_impl import H11Protocol

from pneumoscope.server.problems import Problem

#: Within this time a request's headers are whole. Browsers open connections beforehand, and those of machines that vanish
#: would stay for ever, until they are all that the server can have.
HEADERS_S = 30.0
#: We wait for a body so long in all, and longer by what has come of it; any line that a study is sent over is far faster.
BODY_S, LEAST_BYTES_PER_S = 60.0, 1000.0


def in_time(receive: Receive) -> Receive:
    """``receive`` for a body that comes in time, however it drips. Raises Problem."""
    waited_s, came_bytes, more = 0.0, 0, True

    async def next_part() -> Message:
        nonlocal waited_s, came_bytes, more
        if not more:  # then it is waited for the end of the connection
            return await receive()
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(BODY_S + came_bytes / LEAST_BYTES_PER_S - waited_s):
                message = await receive()
        except TimeoutError:
            raise Problem(408, "too-slow", "The body came too slowly.", headers={"Connection": "close"}) from None
        waited_s += time.monotonic() - began_s
        came_bytes += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    return next_part


class Timely(H11Protocol):
    """A connection on which nothing is under way ends after a while, however slowly the next request drips in."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as its base has it
        """Wait for the first request."""
        super().connection_made(transport)
        self._expect(HEADERS_S)

    def on_response_complete(self) -> None:
        """Wait for the next one."""
        self._expect(self.timeout_keep_alive + HEADERS_S)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._due:
            self._due.cancel()
        super().connection_lost(exc)

    def _expect(self, within_s: float) -> None:
        if self._due:
            self._due.cancel()
        self._due = self.loop.call_later(within_s, self._hang_up_where_idle)

    def _hang_up_where_idle(self) -> None:
        asked = self.cycle is not None and not self.cycle.response_complete
        if not asked and self.transport.get_protocol() is self:  # and not by now that of a WebSocket
            self.timeout_keep_alive_handler()
