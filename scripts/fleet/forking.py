"""The processes of the fleet's nodes, forked from one that has everything imported: 26 nodes are up in seconds that way."""

import gc
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from pneumoscope.worker import child, reader

for _module in reader.ONCE:
    importlib.import_module(_module)
_usual_launch = child.launch


def forked(title: str, work: Callable[..., None], *given: object) -> int:
    """Do some work in a process of its own; its number."""
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        gc.freeze()  # what is shared with the other nodes stays shared
        # what is spawned from here on is to import what it needs, and not this story
        main = sys.modules["__main__"]
        main.__dict__.pop("__file__", None)
        main.__spec__ = None
        work(*given)
    except BaseException as fault:  # noqa: BLE001 - the end of a process
        print(f"{title}: {type(fault).__name__}: {fault}", file=sys.stderr)
    finally:
        os._exit(0)


class ForkedReader:
    """A node's reader process; like subprocess.Popen as far as a worker uses that."""

    stdin: BinaryIO
    stdout: BinaryIO

    def __init__(self, model: str) -> None:
        jobs, answers = os.pipe(), os.pipe()
        self.pid = forked("reader", _read, jobs, answers, model)
        os.close(jobs[0])
        os.close(answers[1])
        self.stdin, self.stdout = os.fdopen(jobs[1], "wb"), os.fdopen(answers[0], "rb")
        self._ended = False

    @staticmethod
    def launch(model: str) -> "ForkedReader | subprocess.Popen[bytes]":
        """A new reader; one that takes the place of another is started as usual, since a process with threads is not forked."""
        return ForkedReader(model) if threading.active_count() == 1 else _usual_launch(model)

    def poll(self) -> int | None:
        """Zero once it has ended."""
        if not self._ended:
            self._ended = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        return 0 if self._ended else None

    def kill(self) -> None:
        """End it."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Until it has ended."""
        if not self._ended:
            os.waitpid(self.pid, 0)
            self._ended = True


def _read(jobs: tuple[int, int], answers: tuple[int, int], model: str) -> None:
    os.dup2(jobs[0], 0)
    os.dup2(answers[1], 1)
    for number in (*jobs, *answers):
        os.close(number)
    sys.stdin = open(0)  # noqa: SIM115 - as long as the process
    sys.argv = ["reader", *([model] if model else [])]
    os.environ["OMP_WAIT_POLICY"] = "passive"
    for number in (signal.SIGTERM, signal.SIGINT):  # its worker ends it
        signal.signal(number, signal.SIG_DFL)
    reader.main()
