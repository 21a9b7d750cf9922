"""How long a whole reading takes, cold, from files on disk to all results written; by number of slices.

    python bench/reading.py [--slices 100 300 600 1200]

The studies are phantoms of 512 x 512, made once under build/bench. Each row is the median of three fresh processes; memory is
the largest resident set of any process of the reading.
"""

import argparse
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pneumoscope.phantom import PhantomSpec, render, write_dicom
from pneumoscope.phantom.dicom import SAMPLE

ROOT = Path(__file__).parent.parent / "build" / "bench"
STAGES = ("find", "load", "segment", "measure", "build")
RUNS = 3
COVERED_MM = 300.0


def study(slices: int) -> Path:
    """A chest of 300 mm in so many slices."""
    folder = ROOT / f"phantom-{slices}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        spec = PhantomSpec(
            slices=slices,
            slice_spacing_mm=COVERED_MM / slices,
            slice_thickness_mm=min(1.0, COVERED_MM / slices),
            lesions=SAMPLE.lesions,
        )
        write_dicom(render(spec), partial)
        partial.rename(folder)
    return folder


def run(folder: Path) -> tuple[float, float, dict[str, float]]:
    """Seconds, MiB and seconds per stage of one cold reading."""
    command = [sys.executable, "-m", "pneumoscope.cli", "read", str(folder), "--out", str(ROOT / "result")]
    started_s = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started_s
    stages = {name: float(s) for name, s in re.findall(r"(\w+) ([\d.]+)\s+s", done.stdout)}
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, nargs="+", default=[100, 300, 600, 1200])
    wanted = parser.parse_args().slices
    table = Table(title="one reading, cold process to results on disk: median seconds of 3", padding=(0, 0))
    for head in ("slices", "total", "per 100", "peak MiB", *STAGES, "start-up"):
        table.add_column(head, justify="right")
    for slices in sorted(wanted):  # the peak is the largest so far: small studies first
        folder = study(slices)
        runs = [run(folder) for _ in track(range(RUNS), description=f"{slices} slices", console=Console(stderr=True))]
        total = statistics.median(seconds for seconds, _, _ in runs)
        stages = [statistics.median(parts.get(stage, 0.0) for _, _, parts in runs) for stage in STAGES]
        cells = (total, total / slices * 100, max(mib for _, mib, _ in runs), *stages, total - sum(stages))
        table.add_row(str(slices), *(f"{cell:.1f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
