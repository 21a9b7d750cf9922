"""Threads that do something again and again and outlive a database that is away, and the event that ends them."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.errors import PneumoscopeError

#: Of what must be heard of within seconds, such as beats: not even a leisurely node does it less often.
SLOWEST_STEADY_S = 2.0
log = structlog.get_logger()


def steady_s(pace: float) -> float:
    """Pause of what a node does all the time, once a second unless ``node.pace`` slows it down."""
    return min(pace, SLOWEST_STEADY_S)


def stop_event() -> threading.Event:
    """Is set when this process is asked to stop."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    return stop


def every(seconds: float, work: Callable[[], None], *, stop: threading.Event, name: str) -> threading.Thread:
    """Call ``work`` until ``stop`` is set, with ``seconds`` between two calls; what it raises is logged by its kind."""

    def loop() -> None:
        failed = False
        while not stop.wait(seconds):
            try:
                work()
                failed = False
            except (SQLAlchemyError, PneumoscopeError, OSError) as fault:
                if not failed:  # once, not with every turn
                    log.error("A loop failed and goes on", loop=name, fault=type(fault).__name__)
                failed = True
            except Exception:  # a bug here must not stop the loop for ever, unseen
                log.error("A loop met a fault of ours and goes on", loop=name, exc_info=True)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread
