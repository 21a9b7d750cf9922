"""Holds a study at any step of its way, from outside: by triggers of PostgreSQL, by a script of Orthanc, by stopped processes.

Nothing of this is in the product. A gate is a file: while it lies there, whoever comes to that step waits. Where a step is a
statement to the database, its trigger waits; one that is deferred waits within the COMMIT.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sa

from pneumoscope.config import load_settings
from pneumoscope.node.prepare import prepare
from servers import Orthanc, Postgres, free_port, listening, living_children, wait_for

SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass(frozen=True)
class Hold:
    """A statement that is to be waited in. ``in_commit``: it is carried out, and the transaction waits in its COMMIT."""

    step: str
    event: str  # such as INSERT ON reading
    when: str = "true"
    in_commit: bool = False


HOLDS = (
    Hold("filing", "INSERT ON image"),
    # not the closing of what a dead process left, which lies ahead
    Hold("closing", "UPDATE ON arrival", "NEW.closed_at < now() AT TIME ZONE 'UTC' + interval '5 s'"),
    Hold("taking", "INSERT ON reading"),
    Hold("queueing", "UPDATE ON reading", "OLD.workflow_id IS NULL AND NEW.workflow_id IS NOT NULL"),
    Hold("assembling", "INSERT ON dbos.operation_outputs", "NEW.function_name = 'assemble'"),
    Hold("beginning", "UPDATE ON reading", "OLD.state = 'waiting' AND NEW.state = 'running'"),
    Hold("noting the reading", "INSERT ON dbos.operation_outputs", "NEW.function_name = 'read'"),
    Hold("settling", "UPDATE ON reading", "NEW.state = 'read'"),
    Hold("committing", "INSERT ON delivery", in_commit=True),
    Hold("ending", "INSERT ON dbos.operation_outputs", "NEW.function_name = 'settle'"),
    Hold("claiming", "UPDATE ON delivery", "NEW.state = 'sending'", in_commit=True),
    Hold("noting the delivery", "UPDATE ON delivery", "OLD.state = 'sending' AND NEW.state IN ('pending', 'confirmed')"),
    Hold("answering", "UPDATE ON commitment", "NEW.state = 'waiting'"),
    Hold("noting the answer", "UPDATE ON commitment", "NEW.state = 'answered'"),
)
#: Waits before the second and later objects are kept: a study that is on its way in the PACS, half of it.
LUA = """
local count = 0
function ReceivedInstanceFilter(dicom, origin)
  count = count + 1
  if count == 1 then return true end
  local gate = io.open('GATES/sending')
  while gate do
    gate:close()
    io.open('GATES/held in sending', 'w'):close()
    os.execute('sleep 0.02')
    gate = io.open('GATES/sending')
  end
  return true
end
"""


class Gates:
    """Files that hold up whoever comes to a step."""

    def __init__(self, database: Postgres) -> None:
        # beside its data: the server may be another user, and look nowhere else
        self.folder = database.folder / "data" / "gates"
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.engine = sa.create_engine(database.url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self.lua = self.folder / "gates.lua"
        self.lua.write_text(LUA.replace("GATES", str(self.folder)))

    def build(self) -> None:
        """Once the tables are there."""
        with self.engine.connect() as db:
            db.execute(sa.text(self._FUNCTION))
            for number, hold in enumerate(HOLDS):
                kind = "CONSTRAINT TRIGGER" if hold.in_commit else "TRIGGER"
                moment = "AFTER" if hold.in_commit else "BEFORE"
                late = "DEFERRABLE INITIALLY DEFERRED" if hold.in_commit else ""
                db.exec_driver_sql(
                    f"CREATE {kind} hold_{number} {moment} {hold.event} {late} FOR EACH ROW WHEN ({hold.when}) "
                    f"EXECUTE FUNCTION hold('gates/{hold.step}', '{number}')"
                )

    # the lock says who waits where; the file outlives the server
    _FUNCTION = """
        CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_advisory_xact_lock_shared(TG_ARGV[1]::int);
            WHILE (pg_stat_file(TG_ARGV[0], true)).size IS NOT NULL LOOP PERFORM pg_sleep(0.02); END LOOP;
            RETURN NEW;
        END $$"""

    def close(self, *steps: str) -> None:
        for step in steps:
            (self.folder / step).touch()

    def open(self, step: str) -> None:
        (self.folder / step).unlink(missing_ok=True)

    def open_all(self) -> None:
        for path in self.folder.iterdir():
            if path != self.lua:
                path.unlink()

    def holder(self, step: str) -> int | None:
        """The port of the client that waits there."""
        number = next(number for number, hold in enumerate(HOLDS) if hold.step == step)
        query = (
            "SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            f"WHERE l.locktype = 'advisory' AND l.objid = {number}"
        )
        with self.engine.connect() as db:
            return db.execute(sa.text(query)).scalar()


class Parts:
    """Receivers and workers without ``serve``, which starts what dies ever more slowly: two of each, so that one takes over."""

    def __init__(self, folder: Path, database: Postgres, settings: str) -> None:
        self.folder, self.dicom_port, self.database = folder, free_port(), database
        folder.mkdir()
        self.config, self.kept = folder / "node.toml", folder / "kept"
        self._settings = settings
        self._running: dict[str, list[subprocess.Popen[bytes]]] = {"receiver": [], "worker": []}

    def start(self) -> None:
        self.config.write_text(
            f'[node]\nfolder = "{self.kept}"\ndatabase_url = "{self.database.url}"\n'
            f"[dicom]\nport = {self.dicom_port}\nhost = '127.0.0.1'\n{self._settings}"
        )
        prepare(load_settings(self.config))

    def man(self) -> None:
        """Have two of each kind."""
        for kind, running in self._running.items():
            while sum(process.poll() is None for process in running) < 2:
                with (self.folder / "log").open("ab") as log:
                    command = [sys.executable, "-m", f"pneumoscope.{kind}"]
                    environment = {**os.environ, "PNEUMOSCOPE_CONFIG": str(self.config)}
                    running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    def listens(self) -> bool:
        return listening(self.dicom_port)

    def of(self, kind: str) -> list["subprocess.Popen[bytes]"]:
        return [process for process in self._running[kind] if process.poll() is None]

    def at_port(self, kind: str, port: int | None) -> "subprocess.Popen[bytes] | None":
        """The one that has a connection with this port at either end."""
        for process in self.of(kind):
            with suppress(psutil.NoSuchProcess):
                ends = [end for each in psutil.Process(process.pid).net_connections() for end in (each.laddr, each.raddr)]
                if port in {end.port for end in ends if end}:
                    return process
        return None

    def reading_child(self) -> psutil.Process | None:
        """The process that reads a study at this moment."""
        for worker in self.of("worker"):
            with suppress(psutil.NoSuchProcess):
                for reader in psutil.Process(worker.pid).children():
                    for child in living_children(reader):
                        return child
        return None

    def stop(self) -> None:
        for process in (*self.of("receiver"), *self.of("worker")):
            process.kill()
            process.wait()


def worker_of(child: psutil.Process) -> int | None:
    """The worker whose reader's child this is."""
    with suppress(psutil.NoSuchProcess):
        reader = child.parent()
        return reader.ppid() if reader else None
    return None


def forward_until(child: psutil.Process, condition: Callable[[], object], *, seconds: float = 120) -> None:
    """Let a stopped process go on in small slices of time until ``condition`` holds, and leave it stopped.

    On a machine so busy that a slice takes it to its end, its end will do.
    """
    give_up_at = time.monotonic() + seconds
    with suppress(psutil.NoSuchProcess):
        while not condition():
            assert time.monotonic() < give_up_at, "the reading never came so far"
            child.send_signal(signal.SIGCONT)
            time.sleep(0.004)
            child.send_signal(signal.SIGSTOP)
            wait_for(lambda: child.status() != psutil.STATUS_RUNNING, what="a process to stop", every_s=0.001)


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


Site = tuple[Parts, Gates, Orthanc]
STEPS: Sequence[str] = (
    "receiving",
    "filing",
    "closing",
    "taking",
    "queueing",
    "assembling",
    "beginning",
    "reading",
    "building",
    "noting the reading",
    "settling",
    "committing",
    "ending",
    "claiming",
    "sending",
    "noting the delivery",
    "confirming",
    "answering",
    "noting the answer",
)
