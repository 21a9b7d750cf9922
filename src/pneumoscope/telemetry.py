"""What every process of the node has in common: its log lines, little memory, and dying with the process that started it."""

import ctypes
import logging
import os
import signal
import sys
import threading

import structlog

from pneumoscope.config import Settings

#: Set by ``serve`` for the processes that it starts.
SUPERVISED_VARIABLE = "PNEUMOSCOPE_SUPERVISED"
_PR_SET_PDEATHSIG = 1
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


def set_up(settings: Settings, *, kind: str) -> None:
    """Make structlog write sentences to standard error, for people or for machines; ``kind`` of process stands in each."""
    level = getattr(logging, settings.logs.level.upper())
    form = structlog.processors.JSONRenderer() if settings.logs.form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_the_kind_of_fault,
            form,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=kind, pid=os.getpid())
    # libraries write through logging; of theirs only warnings are wanted, and never their arguments, which may be a patient's
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(name)s %(levelname)s", force=True)
    threading.excepthook = _tell_of_thread
    _give_memory_back()
    if os.environ.get(SUPERVISED_VARIABLE):
        die_with_parent(signal.SIGTERM)


def _give_memory_back() -> None:
    """Have glibc give large blocks back to the system: results pass many threads, each of which would keep its share."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:  # other C libraries have none
        mallopt(_M_MMAP_THRESHOLD, 2**20)
        mallopt(_M_ARENA_MAX, 2)


def _only_the_kind_of_fault(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Of an exception its class alone: messages of other people's exceptions quote values, which may be a patient's."""
    fault = event.pop("exc_info", None)
    if fault is True:
        fault = sys.exc_info()[1]
    if isinstance(fault, BaseException):
        event["fault"] = type(fault).__name__
    return event


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Not by a traceback, whose last line may quote a patient."""
    structlog.get_logger().error(
        "A thread ended by a fault of ours", thread=ended.thread and ended.thread.name, exc_info=ended.exc_value
    )


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask Linux to send this process a signal when its parent ends; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
