"""The reader process as the worker holds it: started when needed, stopped when it hangs."""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Predecessor

#: No study takes this long on two cores; one that does hangs.
READ_TIMEOUT_S = 900
START_TIMEOUT_S = 120


def launch(model: str) -> "subprocess.Popen[bytes]":
    """A new reader process; ``model``: that of the settings, empty for the shipped one."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "pneumoscope.worker.reader", *([model] if model else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )


class ReaderGone(Exception):
    """The reader died, hung or was stopped; its study can be given to another."""


class Reader:
    """One reader process. ``start`` and ``stop`` may be called from other threads; ``stop`` ends what it is at."""

    def __init__(self, model: str = "") -> None:
        self._model = model
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._starting = threading.Lock(), threading.Lock()
        self._stopping = False

    def read(
        self,
        files: Sequence[Path],
        *,
        made_at: datetime,
        out: Path | None,
        replaces: Predecessor | None = None,
        model: str = "",
        limits: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        """Results of the study in ``files`` go to the folder ``out``, or nowhere; what became of it is told.

        ``model``: name and version, empty for that of the settings. ``limits``: of the categories, in place of the model's.
        Raises ReaderGone, or OperatorNeeded where no reader can be started.
        """
        self._stopping = False
        process = self._start()
        job: dict[str, Any] = {"files": [str(file) for file in files], "made_at": made_at.isoformat(), "model": model}
        job |= {"out": str(out) if out else "", "limits": limits}
        if replaces:
            job["replaces"] = {**vars(replaces), "made_at": replaces.made_at.isoformat()}
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            return self._answer(process, timeout_s=READ_TIMEOUT_S)
        except (OSError, ValueError, ReaderGone) as fault:  # ValueError: its pipes were closed by ``stop``
            self._drop(process)
            raise ReaderGone from fault

    def start(self) -> str:
        """Have it ready; returns which model it reads with. Raises OperatorNeeded."""
        self._start()
        return self.model_title

    model_title = ""

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._starting:  # whoever comes second must not take the word that it is ready for an answer
            return self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._process and self._process.poll() is None:
                return self._process
            process = self._process = launch(self._model)
        try:
            self.model_title = str(self._answer(process, timeout_s=START_TIMEOUT_S)["model"])
        except (OSError, ValueError, ReaderGone) as fault:
            self._drop(process)
            raise OperatorNeeded(
                "The reader does not start; `pneumoscope model verify` tells whether the model is whole.", code="reader-failed"
            ) from fault
        return process

    def _answer(self, process: "subprocess.Popen[bytes]", *, timeout_s: float) -> dict[str, Any]:
        assert process.stdout is not None
        give_up_at = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, give_up_at - time.monotonic()))
            part = os.read(process.stdout.fileno(), 65536) if ready else b""
            if not part:
                raise ReaderGone
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` ended the last reading."""
        return self._stopping

    def stop(self) -> None:
        """End the process and what it is at."""
        with self._lock:
            process = self._process
            if process:
                self._stopping = True
        if process:
            self._drop(process)

    def _drop(self, process: "subprocess.Popen[bytes]") -> None:
        """End a process; one that was started in its place meanwhile goes on."""
        with self._lock:
            if self._process is process:
                self._process = None
        process.kill()  # its children die with it
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
