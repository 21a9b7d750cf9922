"""Has files examined by a child, limited in memory and time: a file that kills it costs itself alone."""

import atexit
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from pneumoscope.errors import OperatorNeeded
from pneumoscope.filing.examine import Examined, Rule, digest
from pneumoscope.intake.headers import Header

#: For all files of a batch, and for one file alone once its batch did not come back. A header takes a millisecond or two, one
#: of 4,000 frames a second or two.
BATCH_LIMIT_S, FILE_LIMIT_S = 30.0, 10.0
START_LIMIT_S = 60.0
log = structlog.get_logger()


class _Died(Exception):
    """The child did not come back from what it was given."""


class Opener:
    """One child, started when it is needed first and again when it has died; used by one thread at a time."""

    def __init__(self, *, batch_limit_s: float = BATCH_LIMIT_S, file_limit_s: float = FILE_LIMIT_S) -> None:
        self._batch_limit_s, self._file_limit_s = batch_limit_s, file_limit_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def examine(self, paths: Sequence[Path], rules: Sequence[Rule]) -> list[Examined]:
        """What these files are, in their order.

        Raises OSError where one has gone, OperatorNeeded where no child can be started.
        """
        with self._lock:
            try:
                return self._ask(paths, rules, self._batch_limit_s)
            except _Died:
                return [self._alone(path, rules) for path in paths]

    def _alone(self, path: Path, rules: Sequence[Rule]) -> Examined:
        try:
            return self._ask([path], rules, self._file_limit_s)[0]
        except _Died:
            log.warning("A file could not be examined within the limits of memory and time")
            return Examined(digest(path), path.stat().st_size, Header(fault="damaged-header"))

    def _ask(self, paths: Sequence[Path], rules: Sequence[Rule], limit_s: float) -> list[Examined]:
        connection = self._connection or self._start()
        try:
            connection.send((list(paths), list(rules), limit_s))
            if not connection.poll(limit_s):
                raise EOFError
            answer = connection.recv()
        except (EOFError, OSError):
            self._end()
            raise _Died from None
        if isinstance(answer, OSError):
            raise answer
        return list(answer)

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "pneumoscope.filing.child", str(theirs.fileno())]
            self._process = subprocess.Popen(  # noqa: S603 - our own
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # native libraries print there, and may print names
            )
        self._connection = Connection(ours.detach())
        try:
            if self._connection.poll(START_LIMIT_S) and self._connection.recv() == "ready":
                return self._connection
        except (EOFError, OSError):
            pass
        self._end()
        raise OperatorNeeded("The process that examines files cannot be started.", code="no-opener")

    def _end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._connection:
            self._connection.close()
        self._process = self._connection = None

    def warm_up(self) -> None:
        """Start the child now, so that the first file need not wait for it. Raises OperatorNeeded."""
        with self._lock:
            if self._connection is None:
                self._start()

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()


#: That of this process.
opener = Opener()
atexit.register(opener.close)
