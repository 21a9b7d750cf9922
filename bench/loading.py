"""How long finding, choosing, decoding and ordering a series takes, against SimpleITK reading the same known series.

    python bench/loading.py

SimpleITK is given the files in order and only decodes them; we are given the folder and find that out. Runs alternate; the
figures are medians of five. Uncompressed: a phantom of 300 slices. JPEG Lossless: a real study, where one lies beside the
project.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk
from rich.console import Console
from rich.table import Table

from pneumoscope.pipeline import load_path

sys.path.insert(0, str(Path(__file__).parent))
from reading import study

RUNS = 5
DATA = Path(os.environ.get("PNEUMOSCOPE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def seconds(work: Callable[[], object]) -> float:
    started_s = time.monotonic()
    work()
    return time.monotonic() - started_s


def compare(folder: Path) -> tuple[int, float, float]:
    """Number of slices, our median seconds, SimpleITK's."""
    files = [str(instance.path) for instance in load_path(folder)[0].instances]

    def peer() -> None:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(files)
        reader.Execute()

    peer()
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(seconds(lambda: load_path(folder)))
        theirs.append(seconds(peer))
    return len(files), statistics.median(ours), statistics.median(theirs)


def main() -> None:
    table = Table(title=f"loading a series: median seconds of {RUNS}")
    for head in ("series", "slices", "Pneumoscope", "SimpleITK", "ratio"):
        table.add_column(head, justify="right")
    folders = {"uncompressed": study(300), "JPEG Lossless": DATA / "volumes" / "normal_001"}
    for name, folder in folders.items():
        if not folder.is_dir():
            table.add_row(name, "no such study here", "", "", "")
            continue
        count, ours, theirs = compare(folder)
        table.add_row(name, str(count), f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
