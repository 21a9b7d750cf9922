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


class ReaderGone(Exception):
    """The reader died, hung or was stopped; its study can be given to another."""


class Reader:
    """One reader process. ``stop`` may be called from another thread and ends a reading that is under way."""

    def __init__(self, model: str = "") -> None:
        self._model = model
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopping = False

    def read(
        self, files: Sequence[Path], *, made_at: datetime, out: Path, replaces: Predecessor | None = None
    ) -> dict[str, Any]:
        """Results of the study in ``files`` go to the folder ``out``; what became of it is told.

        Raises ReaderGone, or OperatorNeeded where no reader can be started.
        """
        self._stopping = False
        process = self._start()
        job: dict[str, Any] = {"files": [str(file) for file in files], "made_at": made_at.isoformat(), "out": str(out)}
        if replaces:
            job["replaces"] = {**vars(replaces), "made_at": replaces.made_at.isoformat()}
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            return self._answer(process, timeout_s=READ_TIMEOUT_S)
        except (OSError, ReaderGone) as fault:
            self.stop()
            raise ReaderGone from fault

    def start(self) -> str:
        """Have it ready; returns which model it reads with. Raises OperatorNeeded."""
        self._start()
        return self.model_title

    model_title = ""

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._process and self._process.poll() is None:
                return self._process
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-m", "pneumoscope.worker.reader", *([self._model] if self._model else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            )
            self._process = process
        try:
            self.model_title = str(self._answer(process, timeout_s=START_TIMEOUT_S)["model"])
        except ReaderGone as fault:
            self.stop()
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
            process, self._process = self._process, None
        if process:
            self._stopping = True
            process.kill()  # its children die with it
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
