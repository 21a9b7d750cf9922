"""Work spread over forked processes that may die.

Parsers and decoders of other people's files are where crashes happen. Each runs in a child; a child that dies costs the one
item it was at, which comes back as ``Crashed``, and another child goes on with the rest.
"""

import multiprocessing as mp
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crashed:
    """Stands for the result of an item whose process died."""


def fork_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    processes: int = 2,
    chunk: int = 1,
    with_children: bool = False,
) -> Iterator[tuple[int, Result | Crashed]]:
    """Apply ``function`` to each item in forked children; yields (index, result) as they come.

    What ``function`` raises is a bug and ends the work; expected faults are results. Arrays are best written to shared memory
    made before the call. ``chunk`` results travel together. ``with_children``: ``function`` forks children of its own.
    """
    queues = [list(range(start, len(items), processes)) for start in range(min(processes, len(items)))]
    running = {}
    for queue in queues:
        connection = _start(function, items, queue, chunk, daemon=not with_children)
        running[connection] = queue
    try:
        while running:
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                queue = running.pop(ready)
                try:
                    results = ready.recv()
                except EOFError:
                    if not queue:
                        continue
                    yield queue.pop(0), Crashed()
                    if queue:  # one at a time now, so that the next crash names its item
                        running[_start(function, items, queue, 1, daemon=not with_children)] = queue
                    continue
                running[ready] = queue
                if isinstance(results, BaseException):
                    raise results
                for index, result in results:
                    queue.remove(index)
                    yield index, result
    finally:
        for connection in running:
            connection.close()


def _start(
    function: Callable[[Item], Result], items: Sequence[Item], queue: list[int], chunk: int, *, daemon: bool
) -> Connection:
    receiver, sender = mp.Pipe(duplex=False)
    # a daemon is killed with its parent, but may have no children
    process = mp.get_context("fork").Process(target=_serve, args=(function, items, list(queue), chunk, sender), daemon=daemon)
    process.start()
    sender.close()
    return receiver


def _serve(function: Callable[[Any], Any], items: Sequence[Any], queue: list[int], chunk: int, sender: Connection) -> None:
    """Child: work through the queue. Native libraries print to file descriptor 2, whose lines may hold paths: silence it."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    done = []
    try:
        for index in queue:
            done.append((index, function(items[index])))
            if len(done) >= chunk:
                sender.send(done)
                done = []
        if done:
            sender.send(done)
    except (BrokenPipeError, KeyboardInterrupt):  # the parent has gone or was stopped
        pass
    except Exception as fault:  # noqa: BLE001  a process boundary: the parent raises it
        sender.send(fault)
    finally:
        sender.close()
        os._exit(0)  # no clean-up of what was inherited from the parent


@cache
def bound_memory(spare_bytes: int) -> None:
    """For a child: it may take so much memory beyond what it has when it first asks; more raises MemoryError, or kills it."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
        taken = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        # of data of its own: neither what it shares with its parent nor addresses that are only reserved
        resource.setrlimit(resource.RLIMIT_DATA, (taken + spare_bytes, taken + spare_bytes))
