"""Starts every process of the node on this machine, and starts again what dies."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import structlog

from pneumoscope import telemetry
from pneumoscope.config import FILE_VARIABLE, Program, Role, Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.loops import stop_event
from pneumoscope.member.membership import is_member
from pneumoscope.node.prepare import prepare
from pneumoscope.node.require import require
from pneumoscope.telemetry import SUPERVISED_VARIABLE

PARTING_S = 30
#: A process that dies again and again is started ever more slowly, at most this far apart.
SLOWEST_RESTART_S = 30.0
STEADY_S = 60.0
#: After this time a node that is not ready says what it waits for.
SILENT_S = 30.0
log = structlog.get_logger()


@dataclass
class Part:
    """One process to be kept running."""

    name: str
    module: str
    process: "subprocess.Popen[bytes] | None" = None
    started_s: float = 0.0
    wait_s: float = 0.0
    due_s: float = field(default=0.0)

    def tend(self, environment: dict[str, str]) -> None:
        """Start it where it is due, and note where it died."""
        moment_s = time.monotonic()
        if self.process is not None:
            status = self.process.poll()
            if status is None:
                return
            log.warning("A process of the node ended and is started again", part=self.name, status=status)
            steady = moment_s - self.started_s > STEADY_S
            self.wait_s = 0.5 if steady or not self.wait_s else min(2 * self.wait_s, SLOWEST_RESTART_S)
            self.process, self.due_s = None, moment_s + self.wait_s
        if moment_s >= self.due_s:
            self.started_s = moment_s
            self.process = subprocess.Popen([sys.executable, "-m", self.module], env=environment)  # noqa: S603 - our own


def serve(settings: Settings, *, file: Path | None = None, ready: Callable[[], None] | None = None) -> None:
    """Run the node until asked to stop; ``ready`` is called once when everything answers. Raises OperatorNeeded."""
    telemetry.set_up(settings, kind="node")
    require(settings)
    prepare(settings)
    stop = stop_event()
    metrics = Path(tempfile.mkdtemp(prefix="pneumoscope-metrics-"))
    watch = Program(name="node", token=secrets.token_urlsafe(32), roles=(Role.MONITOR,))
    programs = json.dumps([program.model_dump(mode="json") for program in (*settings.http.programs, watch)])
    environment = {
        **os.environ,
        SUPERVISED_VARIABLE: "1",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "PNEUMOSCOPE_HTTP__PROGRAMS": programs,
    }
    if file:
        environment[FILE_VARIABLE] = str(file.absolute())
    parts = [
        *(Part(f"receiver {n + 1}", "pneumoscope.receiver") for n in range(settings.dicom.receivers)),
        Part("server", "pneumoscope.server"),
        *(Part(f"worker {n + 1}", "pneumoscope.worker") for n in range(settings.node.workers)),
    ]
    told, began_s, said = ready is None, time.monotonic(), ""
    try:
        member = False
        while not stop.wait(0.25):
            if not member and is_member(settings):  # it may join while it runs
                parts.append(Part("member", "pneumoscope.member"))
                member = True
            for part in parts:
                part.tend(environment)
            if told or ready is None:
                continue
            reasons = _not_ready(settings, watch.token)
            if told := not reasons:
                ready()
            elif time.monotonic() - began_s > SILENT_S and reasons != said:
                said = reasons
                log.warning("The node is not ready", reasons=reasons)
    finally:
        _stop(parts)
        shutil.rmtree(metrics, ignore_errors=True)


def address(settings: Settings) -> str:
    """Where a browser on this machine finds the node."""
    host = settings.http.host if settings.http.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    return f"{'https' if settings.http.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{settings.http.port}/"


def _not_ready(settings: Settings, token: str) -> str:
    """Why not, in words; empty where it is."""
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # our own server: its certificate is for its name, not for this address
        answer = httpx.get(f"{address(settings)}ready", headers=headers, timeout=2, verify=False)  # noqa: S501
    except httpx.HTTPError:
        return "The web server does not answer."
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return " ".join(answer.json()["reasons"])
    return "" if answer.status_code == httpx.codes.OK else f"The web server answers with status {answer.status_code}."


def _stop(parts: list[Part]) -> None:
    running = [part.process for part in parts if part.process and part.process.poll() is None]
    for process in running:
        process.terminate()
    give_up_at = time.monotonic() + PARTING_S
    for process in running:
        try:
            process.wait(timeout=max(0.1, give_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(settings: Settings, *, patience_s: float = 120) -> None:
    """Return once the node answers a token of the settings, or this machine. Raises OperatorNeeded where it does not."""
    give_up_at = time.monotonic() + patience_s
    while reasons := _not_ready(settings, next(iter(settings.http.tokens), "")):
        if time.monotonic() > give_up_at:
            raise OperatorNeeded(f"The node at {address(settings)} is not ready. {reasons}", code="node-not-ready")
        time.sleep(0.25)
