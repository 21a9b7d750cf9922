"""Fingerprints of the images that a network learned from or was chosen by."""

import csv
from pathlib import Path

from rich.progress import track

from pneumoscope.evaluation.fingerprints import fingerprint, pack
from pneumoscope.singleslice import read_grey

#: Splits that may no longer be called unseen.
USED_SPLITS = frozenset({"train", "val"})


def training_fingerprints(root: Path) -> bytes:
    """The file of a bundle for all slices of the sets at ``root`` in the used splits."""
    with (root / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in USED_SPLITS]
    return pack([fingerprint(read_grey(root / row["file"])) for row in track(rows, description="fingerprints")])
