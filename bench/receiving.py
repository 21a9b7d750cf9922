"""How fast images come in by C-STORE, against dcmtk's storescp and Orthanc, over one association and four at once.

    python bench/receiving.py [--slices 400] [--runs 3]

Phantom slices of 512 x 512, sent by dcmtk's storescu. TCP_NODELAY is set on both sides of every pair, since without it all of
them wait for delayed acknowledgements. Each run has a fresh server; the figures are medians of images a second, from the
sender's start to its end. Every object must have arrived, else the run fails.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reading import study

from servers import free_port, listening, orthanc, wait_for

os.environ["TCP_NODELAY"] = "1"  # dcmtk's switch, and so Orthanc's
Count = Callable[[], int]
Server = Callable[[Path], AbstractContextManager[tuple[str, int, Count]]]


@contextmanager
def pneumoscope(folder: Path, *, processes: int = 1) -> Iterator[tuple[str, int, Count]]:
    import sqlalchemy as sa

    from pneumoscope.store import Database
    from pneumoscope.store.schema import image

    port = free_port()
    environment = os.environ | {
        "PNEUMOSCOPE_NODE__FOLDER": str(folder),
        "PNEUMOSCOPE_DICOM__PORT": str(port),
        "PNEUMOSCOPE_DICOM__HOST": "127.0.0.1",
        "PNEUMOSCOPE_LOGS__LEVEL": "error",
    }
    database = Database(f"sqlite:///{folder / 'node.sqlite'}")
    folder.mkdir(parents=True, exist_ok=True)
    database.migrate()
    command = [sys.executable, "-m", "pneumoscope.receiver"]
    running = [subprocess.Popen(command, env=environment) for _ in range(processes)]

    def filed() -> int:
        with database.look() as db:
            return db.execute(sa.select(sa.func.count()).select_from(image)).scalar_one()

    try:
        wait_for(lambda: listeners(port) >= processes, what="the receivers")
        time.sleep(1)  # what is imported late is imported now
        yield "PNEUMOSCOPE", port, filed
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        database.close()


def listeners(port: int) -> int:
    """How many sockets listen on one port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


@contextmanager
def storescp(folder: Path) -> Iterator[tuple[str, int, Count]]:
    folder.mkdir(parents=True)
    port = free_port()
    command = ["storescp", "--quiet", "--fork", "--max-pdu", "131072", "-od", str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listening(port), what="storescp")
        yield "STORESCP", port, lambda: len(list(folder.iterdir()))
    finally:
        process.terminate()
        process.wait()


@contextmanager
def pacs(folder: Path) -> Iterator[tuple[str, int, Count]]:
    with orthanc(folder, modalities={}) as running:
        yield "ORTHANC", running.dicom_port, lambda: httpx.get(f"{running.url}/statistics").json()["CountInstances"]


SERVERS: dict[str, Server] = {
    "Pneumoscope": pneumoscope,
    "Pneumoscope, 2 processes": lambda folder: pneumoscope(folder, processes=2),
    "dcmtk storescp": storescp,
    "Orthanc": pacs,
}


def rate(server: Server, parts: list[Path], count: int) -> float:
    """Images a second of one run; each part goes over an association of its own."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "server") as (title, port, arrived):
        command = ["storescu", "-aet", "BENCH", "-aec", title, "--max-pdu", "131072", "+sd", "127.0.0.1", str(port)]
        started_s = time.monotonic()
        senders = [subprocess.Popen([*command, str(part)], stderr=subprocess.DEVNULL) for part in parts]
        statuses = [sender.wait() for sender in senders]
        seconds = time.monotonic() - started_s
        assert not any(statuses), "a sender failed"
        wait_for(lambda: arrived() == count, seconds=60, what=f"{count} objects")
    return count / seconds


def split(files: list[Path], count: int, folder: Path) -> list[Path]:
    """Folders among which the files are dealt out."""
    folders = [folder / str(n) for n in range(count)]
    for n, target in enumerate(folders):
        target.mkdir(parents=True)
        for file in files[n::count]:
            os.link(file, target / file.name)
    return folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=list(SERVERS), action="append")
    given = parser.parse_args()
    if not shutil.which("storescu"):
        sys.exit("dcmtk is not installed; scripts/peers.sh installs it.")
    source = study(given.slices)
    files = sorted(source.iterdir())
    chosen = {name: server for name, server in SERVERS.items() if not given.only or name in given.only}
    found: dict[tuple[str, int], list[float]] = {(name, n): [] for name in chosen for n in (1, 4)}
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        parts = {n: split(files, n, Path(scratch, str(n))) for n in (1, 4)}
        # rivals take turns, so that what else this machine does falls on all of them
        turns = [key for _ in range(given.runs) for key in found]
        for name, n in track(turns, description="receiving", console=Console(stderr=True)):
            found[name, n].append(rate(chosen[name], parts[n], len(files)))
    show({key: statistics.median(rates) for key, rates in found.items()}, given)


def show(medians: dict[tuple[str, int], float], given: argparse.Namespace) -> None:
    table = Table(title=f"{given.slices} images of 512 x 512: median images/s of {given.runs}, and their ratio to storescp's")
    for head in ("receiver", "one association", "ratio", "four at once", "ratio"):
        table.add_column(head, justify="left" if head == "receiver" else "right")
    for name in dict.fromkeys(name for name, _ in medians):
        cells = []
        for n in (1, 4):
            best = medians.get(("dcmtk storescp", n))
            cells += [f"{medians[name, n]:.0f}", f"{medians[name, n] / best:.2f}" if best else ""]
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
