"""A receiver as a process of its own, with what it has filed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

import databases
from pneumoscope.store import Database, FolderStore, studies
from pneumoscope.store.schema import arrival, audit, image, metadata, set_aside
from servers import free_port, listening, wait_for

#: Tables that are not emptied: where the process says that it lives, and where the database lets nothing go.
KEPT = ("process", "audit", "review", "service_act")


class Receiver:
    """``python -m pneumoscope.receiver`` with settings from a file."""

    def __init__(self, folder: Path, settings: str = "", *, head: str = "", url: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.pid = folder, free_port(), 0
        self.kept = folder / "kept"
        (folder / "node.toml").write_text(
            f'[node]\nfolder = "{self.kept}"\ndatabase_url = "{url}"\n'
            f'[dicom]\nport = {self.port}\nhost = "127.0.0.1"\n{head}\n{settings}'
        )
        self.kept.mkdir(exist_ok=True)
        self.database = Database(url) if url else databases.sqlite(self.kept / "node.sqlite")
        self.database.migrate()
        self.files = FolderStore(self.kept / "objects")
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> "Receiver":
        environment = {**os.environ, "PNEUMOSCOPE_CONFIG": str(self.folder / "node.toml")}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "pneumoscope.receiver"], env=environment, stderr=log)
        self.processes.append(process)
        up = lambda: process.poll() is not None or self.listeners() >= len(self.running)  # noqa: E731
        wait_for(up, seconds=120, what="the receiver")
        assert process.poll() is None, self.log[-3000:]
        return self

    def listeners(self) -> int:
        """How many sockets listen on our port, without connecting to them."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return sum(line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "0A" for line in lines)

    def emptied(self) -> bool:
        """Have it forget what it received, for the next test; audit entries stay.

        False where the last test left it dead or still at work.
        """
        if len(self.running) < len(self.processes):
            return False
        give_up_at = time.monotonic() + 10
        while not self.all_closed():
            if time.monotonic() > give_up_at:
                return False
            time.sleep(0.02)
        with self.database.begin() as db:
            for table in reversed(metadata.sorted_tables):
                if table.name not in KEPT:
                    db.execute(table.delete())
        shutil.rmtree(self.kept / "objects", ignore_errors=True)
        os.truncate(self.folder / "log", 0)
        return True

    @property
    def running(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self.processes if process.poll() is None]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def kill(self) -> None:
        """kill -9 of every receiver."""
        for process in self.running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        wait_for(lambda: not listening(self.port), what="the port to be free")

    def stop(self) -> list[int]:
        """As asked to by the operator; the exit statuses."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        return [process.wait(timeout=40) for process in self.processes]

    def close(self) -> None:
        self.kill()
        self.database.close()

    def rows(self, table: sa.Table) -> list[sa.RowMapping]:
        with self.database.look() as db:
            return list(db.execute(sa.select(table)).mappings())

    def filed(self) -> list[str]:
        return sorted(row["SOPInstanceUID"] for row in self.rows(image))

    def aside(self) -> list[str]:
        return sorted(row["code"] for row in self.rows(set_aside))

    def audited(self, outcome: str) -> list[str]:
        return [row["detail"] for row in self.rows(audit) if row["outcome"] == outcome]

    def all_closed(self) -> bool:
        """Nobody brings anything any more, and nothing waits in the spool."""
        arrivals = self.rows(arrival)
        return all(row["closed_at"] for row in arrivals) and not self.spooled()

    def spooled(self) -> list[Path]:
        return [path for path in (self.kept / "spool").rglob("*") if path.is_file() and not path.name.startswith(".")]

    def at_rest(self, count: int) -> list[str]:
        """The objects that are filed, once there are so many and every arrival is closed."""
        wait_for(lambda: len(self.filed()) >= count and self.all_closed(), what=f"{count} objects")
        found = self.filed()
        for row in self.rows(image):
            assert self.files.path(row["key"]).stat().st_size == row["size_bytes"]
        assert len(list((self.kept / "objects").rglob("*.dcm"))) == len(found)
        return found

    def open_arrivals(self) -> int:
        with self.database.look() as db:
            return sum(state.open_arrivals for state in studies.arriving(db))

    def send(self, *paths: Path, tool: str = "storescu", options: tuple[str, ...] = (), aet: str = "CT1") -> int:
        """By dcmtk; returns its exit status."""
        scan = {"storescu": ["+sd", "-R"], "dcmsend": ["--scan-directories", "--decompress-never"]}[tool]
        command = [tool, "-aet", aet, "-aec", "PNEUMOSCOPE", *scan, *options, "127.0.0.1", str(self.port)]
        return subprocess.run(
            [*command, *map(str, paths)], check=False, capture_output=True, env={**os.environ, "TCP_NODELAY": "1"}, timeout=120
        ).returncode

    def echo(self, *options: str, aet: str = "CT1", aec: str = "PNEUMOSCOPE") -> bool:
        """By dcmtk, whose exit status tells nothing of an association that is aborted."""
        command = ["echoscu", "-v", "-to", "5", "-aet", aet, "-aec", aec, *options, "127.0.0.1", str(self.port)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        return "Received Echo Response (Success)" in done.stdout + done.stderr

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


Make = Callable[..., Receiver]
