"""HTTP with people who say in time what they want."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Within this time a request's headers are whole. Browsers open connections beforehand, and those of machines that vanish
#: would stay for ever, until they are all that the server can have.
HEADERS_S = 30.0


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
