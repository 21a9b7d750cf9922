"""Children that open other people's files: spawned, limited in time and memory, replaced when they die.

Each call has a child to itself, so that a file that kills its child costs that one call.
"""

import contextlib
import multiprocessing as mp
import os
import queue
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, TypeVar, cast

from pneumoscope.errors import PneumoscopeError, Rejected, RetryLater

Given = ParamSpec("Given")
Result = TypeVar("Result")
MEMORY_BYTES = 6 * 2**30
#: How long a call waits for a child to be free.
PATIENCE_S = 60.0
UNREADABLE = "The object cannot be read: its data are damaged or of a kind that is not supported."


@dataclass
class _Child:
    process: BaseProcess
    connection: Connection


class Children:
    """As many children as ``count``, each started when it is needed first."""

    def __init__(self, *, count: int = 2, limit_s: float = 30.0) -> None:
        self._limit_s = limit_s
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)

    def call(self, function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """Call a module's ``function`` in a child.

        Raises Rejected where the child dies of it, RetryLater where it takes too long or all are busy, FileNotFoundError, and
        what ``function`` raises on purpose.
        """
        try:
            child = self._idle.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise RetryLater("The server is busy opening files.", code="busy") from None
        try:
            child = child or self._start()
            child.connection.send((function, args, kwargs, self._limit_s))
            if not child.connection.poll(self._limit_s):
                raise RetryLater(f"Opening the object took longer than {self._limit_s:.0f} s.", code="too-slow")
            answer = child.connection.recv()
        except BaseException as fault:  # whatever it was, this child is in no known state
            if child:
                _end(child)
            child = None
            if isinstance(fault, (EOFError, OSError)):
                raise Rejected(UNREADABLE, code="unreadable-object") from fault
            raise
        finally:
            self._idle.put(child)
        if isinstance(answer, BaseException):
            raise answer
        return cast(Result, answer)

    def close(self) -> None:
        """End all children; calls under way end theirs."""
        with contextlib.suppress(queue.Empty):
            while True:
                child = self._idle.get_nowait()
                if child:
                    _end(child)

    @staticmethod
    def _start() -> _Child:
        context = mp.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True, name="opener")
        process.start()
        theirs.close()
        return _Child(process, ours)


def _end(child: _Child) -> None:
    child.process.kill()
    child.process.join()
    child.connection.close()


def _serve(connection: Connection) -> None:
    """Child: answer until the parent has gone. Native libraries print to file descriptor 2, whose lines may hold names."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's, in a terminal, reaches us too
    warnings.simplefilter("ignore")
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    while True:
        try:
            function, args, kwargs, limit_s = connection.recv()
        except (EOFError, OSError):
            return
        signal.alarm(int(limit_s) + 5)  # ends us where the parent died while we hang
        connection.send(_answer(function, args, kwargs))
        signal.alarm(0)


def _answer(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    try:
        return function(*args, **kwargs)
    except PneumoscopeError as fault:
        return fault
    except FileNotFoundError:
        return FileNotFoundError()  # without its path
    except Exception:  # noqa: BLE001  a process boundary: what decoders raise on damaged data has no bounds
        return Rejected(UNREADABLE, code="unreadable-object")
