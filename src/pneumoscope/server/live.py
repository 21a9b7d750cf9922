"""Tells open pages that something changed: one watcher for each server process, however many pages are open."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

from pneumoscope.store import Database
from pneumoscope.store.changes import Changes

#: Pages that listen at once; more would leave too few connections for others.
MOST = 200
#: After so long a page connects anew, and is asked again who it is.
LIFE_S = 600.0
#: So that proxies and browsers know that the connection lives.
SIGN_OF_LIFE_S = 15.0
#: Changes that come within this are one.
TOGETHER_S = 0.3


class Live:
    """Who listens, and the thread that watches for them."""

    def __init__(self, database: Database) -> None:
        self._changes = Changes(database)
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()
        self._wanted, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="live", daemon=True)

    def start(self) -> None:
        """Watch from now on, whenever somebody listens."""
        self._thread.start()

    def say_goodbye(self) -> None:
        """End all streams, so that they do not hold up the server's end; may be called by any thread."""
        self._ended.set()
        self._wanted.set()
        self._tell()

    def stop(self) -> None:
        """End in order."""
        self.say_goodbye()
        self._thread.join()

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events (HTML, 9.2): ``change`` for every change, and nothing of what it was."""
        told, end_at = asyncio.Event(), time.monotonic() + LIFE_S
        with self._lock:
            self._listeners[told] = asyncio.get_running_loop()
        self._wanted.set()
        try:
            yield "retry: 1000\n\n"
            while not self._ended.is_set() and time.monotonic() < end_at:
                try:
                    await asyncio.wait_for(told.wait(), SIGN_OF_LIFE_S)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                told.clear()
                if not self._ended.is_set():
                    yield "event: change\ndata:\n\n"
                    await asyncio.sleep(TOGETHER_S)
        finally:
            with self._lock:
                self._listeners.pop(told, None)
                if not self._listeners and not self._ended.is_set():
                    self._wanted.clear()

    @property
    def is_full(self) -> bool:
        """Whether no more pages may listen."""
        return len(self._listeners) >= MOST

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._wanted.wait()
            if self._changes.wait(seconds=1.0):
                self._tell()
        self._changes.close()

    def _tell(self) -> None:
        with self._lock:
            for told, loop in self._listeners.items():
                loop.call_soon_threadsafe(told.set)
