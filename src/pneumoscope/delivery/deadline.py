"""An end to every conversation, however slowly the peer drips."""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self


class Deadline:
    """Shuts the guarded socket down after ``seconds``, so that whatever waits on it wakes with an error.

    Timeouts of single reads do not suffice: a peer that sends one byte each time before they pass could hold us for ever.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._strike)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Start to count."""
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        """Stop to count."""
        self._timer.cancel()

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end

    def guard(self, sock: socket.socket) -> None:
        """Watch this socket, instead of the one before it."""
        with self._lock:
            self._socket = sock
        if self.expired:
            self._strike()

    def _strike(self) -> None:
        with self._lock:
            if self._socket is not None and self._socket.fileno() != -1:
                with suppress(OSError):
                    # of the plain socket: that of ssl would first forget its session, and the waiting thread with it
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
