"""Tells open pages that something changed: one watcher for each server process, however many pages are open."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.server.credentials import known_roles
from pneumoscope.server.visitor import Visitor
from pneumoscope.store import Database, sessions
from pneumoscope.store.changes import Changes
from pneumoscope.store.sessions import Limits

#: Pages that listen at once; more would leave too few connections for others.
MOST = 200
#: After so long a page connects anew, and is asked again who it is.
LIFE_S = 600.0
#: Whether sessions that listen still hold is looked up so often; those that do not hear no more.
LOOK_EVERY_S = 3.0
#: So that proxies and browsers know that the connection lives.
SIGN_OF_LIFE_S = 15.0
#: Changes that come within this are one.
TOGETHER_S = 0.3


@dataclass(eq=False)
class _Listener:
    visitor: Visitor
    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def wake(self) -> None:
        """May be called by any thread."""
        self.loop.call_soon_threadsafe(self.woken.set)


class Live:
    """Who listens, and the thread that watches for them."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database, self._limits, self._changes = database, limits, Changes(database)
        self._listeners: set[_Listener] = set()
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

    async def stream(self, visitor: Visitor) -> AsyncIterator[str]:
        """Server-sent events (HTML, 9.2): ``change`` for every change, and nothing of what it was."""
        listener, end_at = _Listener(visitor, asyncio.get_running_loop()), time.monotonic() + LIFE_S
        with self._lock:
            self._listeners.add(listener)
        self._wanted.set()
        try:
            yield "retry: 1000\n\n"
            while not self._is_over(listener) and time.monotonic() < end_at:
                try:
                    await asyncio.wait_for(listener.woken.wait(), SIGN_OF_LIFE_S)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                listener.woken.clear()
                if not self._is_over(listener):
                    yield "event: change\ndata:\n\n"
                    await asyncio.sleep(TOGETHER_S)
        finally:
            with self._lock:
                self._listeners.discard(listener)
                if not self._listeners and not self._ended.is_set():
                    self._wanted.clear()

    @property
    def is_full(self) -> bool:
        """Whether no more pages may listen."""
        return len(self._listeners) >= MOST

    def _is_over(self, listener: _Listener) -> bool:
        return listener.is_over or self._ended.is_set()

    def _watch(self) -> None:
        look_at = time.monotonic()
        while not self._ended.is_set():
            self._wanted.wait()
            if self._changes.wait(seconds=1.0):
                self._tell()
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_EVERY_S
                self._part()
        self._changes.close()

    def _tell(self) -> None:
        with self._lock:
            for listener in self._listeners:
                listener.wake()

    def _part(self) -> None:
        """From people who are logged out, shut out, or have other roles by now: their pages come again, and are asked anew."""
        with self._lock:
            people = [listener for listener in self._listeners if listener.visitor.account_id]
        if not people:
            return
        try:
            with self._database.look() as db:
                holding = sessions.roles_of(db, {one.visitor.session_id for one in people}, limits=self._limits)
        except SQLAlchemyError:  # the database is away for a moment
            return
        with self._lock:
            for listener in self._listeners.intersection(people):
                names = holding.get(listener.visitor.session_id)
                if names is None or known_roles(names) != listener.visitor.roles:
                    listener.is_over = True
                    listener.wake()
