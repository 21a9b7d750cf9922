"""How long a study takes through the whole node, and how many go through it.

    python bench/node.py latency [--studies 20] [--gap 20]
        last image of 300 slices to its results stored in Orthanc, while studies arrive at random, seconds apart on the mean
    python bench/node.py queue [--studies 500] [--workers 1 2 4] [--postgres]
        a queue of studies of 60 slices: throughput with so many workers, each number for its share of the queue, memory over
        the whole of it, and what passes between two readings

Everything is real: dcmtk sends, the node is `pneumoscope serve` on its defaults, Orthanc is that of the distribution.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reading import study as phantom

from pneumoscope.config import load_settings
from pneumoscope.store import Database
from pneumoscope.store.schema import reading
from servers import Node, Orthanc, free_port, orthanc, postgres, renamed, wait_for

#: Nothing is read faster.
LEAST_S = 3.0
ROOT = Path(__file__).parent.parent / "build" / "bench"
console = Console(stderr=True)


def start(
    stack: ExitStack, folder: Path, *, workers: int = 1, url: str = "", deliver: bool = True
) -> tuple[Node, Orthanc | None]:
    port, settings, pacs = free_port(), "\n[disk]\nmax_share = 0.99\n", None  # what was read stays, and is counted
    if deliver:
        pacs = stack.enter_context(orthanc(folder / "pacs", modalities={"PNEUMOSCOPE": ("127.0.0.1", port)}))
        settings += (
            '\n[[destinations]]\nkind = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
            f"port = {pacs.dicom_port}\n"
        )
    node = Node(folder / "node", settings, database_url=url, workers=workers)
    node.dicom_port = port
    node.start()
    stack.callback(node.kill_all_if_running)
    return node, pacs


def latency(count: int, *, gap_s: float) -> None:
    source = phantom(300)
    chance = random.Random(0)
    moments_s = list(accumulate((chance.expovariate(1 / gap_s) for _ in range(count - 1)), initial=0.0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node, _ = start(stack, folder)
        # made beforehand, so that the making takes nothing from the reading
        uids = [
            renamed(source, folder / f"study-{number}")
            for number in track(range(count), description="making studies of 300 slices", console=console)
        ]
        started_s = time.monotonic()

        def bring(number: int) -> float:
            time.sleep(max(0.0, started_s + moments_s[number] - time.monotonic()))
            node.send(folder / f"study-{number}")
            sent_s = time.monotonic()
            shutil.rmtree(folder / f"study-{number}")
            time.sleep(LEAST_S)  # asking takes something from the reading
            wait_for(lambda: in_pacs(node, uids[number]), seconds=600 + 20 * count, what="the results", every_s=0.2)
            return time.monotonic() - sent_s

        with ThreadPoolExecutor(count) as pool:
            works = [pool.submit(bring, number) for number in range(count)]
            ends = track(as_completed(works), total=count, description="studies read", console=console)
            seconds = sorted(work.result() for work in ends)
        busy = busy_share(node)
    title = f"last image of 300 slices to results stored in Orthanc, {count} studies at random, {gap_s:g} s apart, seconds"
    table = Table(title=title)
    for head in ("median", "95th percentile", "least", "most", "load: time spent reading"):
        table.add_column(head, justify="right")
    values = (statistics.median(seconds), float(np.percentile(seconds, 95)), seconds[0], seconds[-1])
    table.add_row(*(f"{value:.1f}" for value in values), f"{busy:.0%}")
    Console().print(table)


def in_pacs(node: Node, uid: str) -> bool:
    readings = node.study(uid).get("readings", [])
    states = [delivery["state"] for reading in readings for delivery in reading["deliveries"]]
    return bool(states) and all(state in ("pending", "delivered", "confirmed") for state in states)


def busy_share(node: Node) -> float:
    """Part of the time from the first to the last reading in which the worker read."""
    steps = [(start_ms, end_ms) for _, name, start_ms, end_ms in steps_of(node) if name == "read"]
    return sum(end - start for start, end in steps) / (max(end for _, end in steps) - min(start for start, _ in steps))


def queue(count: int, *, on_postgres: bool, workers: list[int]) -> None:
    source = phantom(60)
    shares = [count * number // len(workers) for number in range(1, len(workers) + 1)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(postgres()).url if on_postgres else ""
        node, _ = start(stack, folder, workers=0, url=url, deliver=False)
        per_second = fill(node, source, count)
        crew = stack.enter_context(Crew(node))
        samples = stack.enter_context(watched_memory(node, crew))
        rows, before = [], 0
        with Progress(console=console) as progress:
            read = progress.add_task("read", total=count)
            for number, share in zip(workers, shares, strict=True):
                crew.grow(number)
                wait_for(lambda: done(node) > before, seconds=300, what="the first reading", every_s=0.2)  # noqa: B023
                first, begun_s, begun_ms = done(node), time.monotonic(), time.time() * 1000
                while (there := done(node)) < share:
                    progress.update(read, completed=there)
                    time.sleep(0.5)
                per_minute = (there - first) / (time.monotonic() - begun_s) * 60
                rows.append((number, there - first, per_minute, *between_ms(node, since_ms=begun_ms)))
                before = there
    kind = "PostgreSQL" if on_postgres else "SQLite"
    table = Table(title=f"{count} studies of 60 slices queued, on {kind}, without destinations; received at {per_second:.1f}/s")
    for head in ("workers", "studies", "studies/min", "ms between two readings of a worker", "ms filing results"):
        table.add_column(head, justify="right")
    for number, studies, per_minute, *ms in rows:
        table.add_row(str(number), str(studies), f"{per_minute:.1f}", *(f"{value:.0f}" for value in ms))
    Console().print(table)
    memory = Table(title="memory, without what a reading takes: MiB at the end, and growth with 100 studies")
    for head in ("process", "MiB", "per 100 studies"):
        memory.add_column(head, justify="right")
    for part, name in enumerate(("receivers", "the first worker")):
        memory.add_row(
            name, *(f"{value:+.1f}" if k else f"{value:.0f}" for k, value in enumerate(last_and_slope(samples, part)))
        )
    Console().print(memory)


def fill(node: Node, source: Path, count: int) -> float:
    """Send so many studies to a node that has no worker yet; studies a second, with what making them takes."""
    begun_s = time.monotonic()

    def bring(number: int) -> None:
        renamed(source, node.folder / f"study-{number}")
        node.send(node.folder / f"study-{number}")
        shutil.rmtree(node.folder / f"study-{number}")

    with ThreadPoolExecutor(2) as pool:
        works = [pool.submit(bring, number) for number in range(count)]
        for work in track(as_completed(works), total=count, description="studies sent", console=console):
            work.result()
    return count / (time.monotonic() - begun_s)


class Crew:
    """Workers of a node, by `pneumoscope work`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()

    def grow(self, number: int) -> None:
        """Have so many."""
        command = [sys.executable, "-m", "pneumoscope.cli", "work", "--config", str(self._node.config)]
        with (self._node.folder / "log").open("ab") as log:
            while len(self.processes) < number:
                self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))


Sample = tuple[int, float, float]


@contextmanager
def watched_memory(node: Node, crew: Crew) -> Iterator[list[Sample]]:
    """Studies read so far, MiB of all receivers, and of the first worker without its reader, every two seconds."""
    samples: list[Sample] = []
    stop = Event()

    def watch() -> None:
        while not stop.wait(2):
            groups = (node.pids("receiver"), [process.pid for process in crew.processes[:1]])
            receivers, worker = (sum(psutil.Process(pid).memory_info().rss for pid in pids) / 2**20 for pids in groups)
            samples.append((done(node), receivers, worker))

    thread = Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def last_and_slope(samples: list[Sample], part: int) -> tuple[float, float]:
    """MiB at the end, and how they grow with 100 studies once the first tenth, in which caches fill, is over."""
    steady = np.array([sample for sample in samples if sample[0] >= samples[-1][0] / 10])
    return samples[-1][part + 1], float(np.polyfit(steady[:, 0], steady[:, part + 1], 1)[0]) * 100


def done(node: Node) -> int:
    """Readings that have ended, by the node's database: workers that `serve` did not start have metrics of their own."""
    query = sa.select(sa.func.count()).select_from(reading).where(reading.c.finished_at.is_not(None))
    database = Database(load_settings(node.config).database_url)
    try:
        with database.look() as db:
            return int(db.execute(query).scalar_one())
    finally:
        database.close()


def steps_of(node: Node) -> list[tuple[str, str, int, int]]:
    """Worker, step, start and end in ms of every step, as DBOS noted them."""
    url = load_settings(node.config).workflow_url
    schema = "" if url.startswith("sqlite") else "dbos."
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    query = (
        "SELECT w.executor_id, o.function_name, o.started_at_epoch_ms, o.completed_at_epoch_ms "
        f"FROM {schema}operation_outputs o JOIN {schema}workflow_status w ON w.workflow_uuid = o.workflow_uuid "
        "ORDER BY w.executor_id, o.started_at_epoch_ms"
    )
    with engine.connect() as db:
        rows = db.execute(sa.text(query)).all()
    engine.dispose()
    return [(worker, name, int(start), int(end)) for worker, name, start, end in rows]


def between_ms(node: Node, *, since_ms: float) -> tuple[float, float]:
    """From the end of one reading to the start of the next, and what of it goes into filing results: medians."""
    steps = [step for step in steps_of(node) if step[2] >= since_ms]
    reads = [step for step in steps if step[1] == "read"]
    gaps = [after[2] - before[3] for before, after in pairwise(reads) if before[0] == after[0]]
    filing = [end - start for _, name, start, end in steps if name == "settle"]
    return tuple(statistics.median(values) if values else float("nan") for values in (gaps, filing))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["latency", "queue"])
    parser.add_argument("--studies", type=int)
    parser.add_argument("--gap", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    if given.what == "latency":
        latency(given.studies or 20, gap_s=given.gap)
    else:
        queue(given.studies or 500, on_postgres=given.postgres, workers=given.workers)


if __name__ == "__main__":
    main()
