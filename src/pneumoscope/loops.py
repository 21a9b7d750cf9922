"""Threads that do something again and again and outlive a database that is away, and the event that ends them."""

import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import TypeVar

import structlog
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError, StatementError

from pneumoscope.errors import PneumoscopeError

#: Of what must be heard of within seconds, such as beats: not even a leisurely node does it less often.
SLOWEST_STEADY_S = 2.0
#: What met a fault that nobody foresaw is left alone for so long, and not tried again with every turn.
REST_S = 60.0
Item = TypeVar("Item")
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
                if not failed:
                    log.error("A loop met a fault of ours and goes on", loop=name, exc_info=True)
                failed = True

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


def is_of_the_machine(fault: Exception) -> bool:
    """Whether a fault says nothing of the thing at hand: a database or disk that is away, or what we raise on purpose."""
    if isinstance(fault, DataError | IntegrityError) or type(fault) is StatementError:
        return False
    return isinstance(fault, SQLAlchemyError | PneumoscopeError | OSError)


class Apart:
    """Works on one thing at a time: a fault that nobody foresaw holds up no other, and is met again only after a rest."""

    def __init__(self, name: str, *, rest_s: float = REST_S) -> None:
        self._name, self._rest_s = name, rest_s
        self._until_s: dict[str, float] = {}

    def each(
        self,
        items: Iterable[Item],
        work: Callable[[Item], object],
        *,
        key: Callable[[Item], str],
        faulty: Callable[[Item, Exception], object] = lambda _item, _fault: None,
    ) -> None:
        """Do ``work`` with each; ``faulty`` with what met a fault of ours, so that people learn of it.

        Raises what is of the machine: at once where the database is away, else once all had their turn.
        """
        self._until_s = {name: until_s for name, until_s in self._until_s.items() if until_s > time.monotonic()}
        met: Exception | None = None
        for item in items:
            if key(item) not in self._until_s:
                met = self._try(item, work, key(item), faulty) or met
        if met:
            raise met

    def _try(
        self, item: Item, work: Callable[[Item], object], name: str, faulty: Callable[[Item, Exception], object]
    ) -> Exception | None:
        try:
            try:
                work(item)
            except Exception as fault:
                if is_of_the_machine(fault):
                    raise
                self._until_s[name] = time.monotonic() + self._rest_s
                log.error("One of many met a fault of ours; the others go on", loop=self._name, exc_info=True)
                faulty(item, fault)
        except (OperationalError, InterfaceError):
            raise
        except Exception as fault:  # noqa: BLE001  a boundary between the things that a loop works on
            return fault
        return None
