"""How long a study takes through the whole node, and how many go through it.

    python bench/node.py latency [--studies 20]     last image of 300 slices to its results stored in Orthanc
    python bench/node.py queue [--studies 500]      throughput and memory with 1, 2 and 4 workers, studies of 60 slices

Everything is real: dcmtk sends, the node is `pneumoscope serve` on its defaults, Orthanc is that of the distribution.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reading import study as phantom

from servers import Node, Orthanc, free_port, orthanc, postgres, renamed, wait_for

ROOT = Path(__file__).parent.parent / "build" / "bench"
console = Console(stderr=True)


def start(
    stack: ExitStack, folder: Path, *, workers: int = 1, url: str = "", deliver: bool = True
) -> tuple[Node, Orthanc | None]:
    port, settings, pacs = free_port(), "", None
    if deliver:
        pacs = stack.enter_context(orthanc(folder / "pacs", modalities={"PNEUMOSCOPE": ("127.0.0.1", port)}))
        settings = (
            '\n[[destinations]]\nkind = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
            f"port = {pacs.dicom_port}\n"
        )
    node = Node(folder / "node", settings, database_url=url, workers=workers)
    node.dicom_port = port
    node.start()
    stack.callback(node.kill_all_if_running)
    return node, pacs


def latency(count: int) -> None:
    source = phantom(300)
    seconds = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node, pacs = start(stack, folder)
        assert pacs is not None
        for number in track(range(count), description="studies of 300 slices", console=console):
            target = folder / f"study-{number}"
            uid = renamed(source, target)
            time.sleep(random.Random(number).expovariate(1 / 3))  # arriving at random
            node.send(target)
            sent_at = time.monotonic()
            wait_for(lambda node=node, uid=uid: in_pacs(node, uid), seconds=120, what="the results", every_s=0.2)
            seconds.append(time.monotonic() - sent_at)
            subprocess.run(["rm", "-r", str(target)], check=True)
    seconds.sort()
    table = Table(title=f"last image of 300 slices to results stored in Orthanc, {count} studies, seconds")
    for head in ("median", "95th percentile", "least", "most"):
        table.add_column(head, justify="right")
    at95 = seconds[min(len(seconds) - 1, round(0.95 * len(seconds)) - 1)]
    table.add_row(*(f"{value:.1f}" for value in (statistics.median(seconds), at95, seconds[0], seconds[-1])))
    Console().print(table)


def in_pacs(node: Node, uid: str) -> bool:
    readings = node.study(uid).get("readings", [])
    states = [delivery["state"] for reading in readings for delivery in reading["deliveries"]]
    return bool(states) and all(state in ("pending", "delivered", "confirmed") for state in states)


def queue(count: int, *, on_postgres: bool) -> None:
    source = phantom(60)
    kind = "PostgreSQL" if on_postgres else "SQLite"
    table = Table(title=f"{count} studies of 60 slices queued, on {kind}, without destinations")
    for head in ("workers", "studies/min", "receiver MiB first", "last", "worker MiB first", "last", "queue's own ms/study"):
        table.add_column(head, justify="right")
    for workers in (1, 2, 4):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = stack.enter_context(postgres()).url if on_postgres else ""
            node, _ = start(stack, folder, workers=workers, url=url, deliver=False)
            for number in track(range(count), description=f"{workers} workers: sending", console=console):
                renamed(source, folder / "study")
                node.send(folder / "study")
                subprocess.run(["rm", "-r", str(folder / "study")], check=True)
                if number == 0:
                    first = memory(node)
                    started_at = time.monotonic()
            wait_for(lambda node=node: done(node) >= count, seconds=20 * count, what="all readings")
            rate = count / (time.monotonic() - started_at) * 60
            last = memory(node)
            table.add_row(
                str(workers),
                f"{rate:.1f}",
                *(f"{m:.0f}" for pair in zip(first, last, strict=True) for m in pair),
                f"{overhead_ms(node):.0f}",
            )
    Console().print(table)


def memory(node: Node) -> tuple[float, float]:
    """MiB of all receivers and of all workers without their readers."""
    return tuple(
        sum(psutil.Process(pid).memory_info().rss for pid in node.pids(kind)) / 2**20 for kind in ("receiver", "worker")
    )


def done(node: Node) -> int:
    import httpx

    text = httpx.get(f"{node.url}/metrics").text
    return sum(
        int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines() if line.startswith("pneumoscope_readings_total{")
    )


def overhead_ms(node: Node) -> float:
    """Time between the end of one reading and the start of the next, less nothing: what the queue costs a busy worker."""
    import sqlalchemy as sa

    from pneumoscope.store import Database
    from pneumoscope.store.schema import reading

    database = Database(node._database_url or f"sqlite:///{node.folder / 'kept' / 'node.sqlite'}")
    with database.look() as db:
        rows = db.execute(
            sa.select(reading.c.process_id, reading.c.started_at, reading.c.finished_at)
            .where(reading.c.finished_at.is_not(None))
            .order_by(reading.c.process_id, reading.c.started_at)
        ).all()
    gaps = [(b[1] - a[2]).total_seconds() for a, b in pairwise(rows) if a[0] == b[0]]
    database.close()
    return 1000 * statistics.median(gaps) if gaps else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["latency", "queue"])
    parser.add_argument("--studies", type=int)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    if given.what == "latency":
        latency(given.studies or 20)
    else:
        queue(given.studies or 500, on_postgres=given.postgres)


if __name__ == "__main__":
    main()
