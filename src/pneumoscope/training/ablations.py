"""What each ingredient bought: other networks, measured on the same validation groups, and kept as facts beside the weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pneumoscope.evaluation.metrics import Sample, discrimination
from pneumoscope.models import Calibration
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.training.calibrate import SOURCES, Measured, measure_slices
from pneumoscope.training.evidence import mask_facts
from pneumoscope.training.export import onnx_bytes

FILE_NAME = "ablations.json"
Facts = dict[str, Any]


def measure_run(  # noqa: PLR0913 - each says something else about one run
    checkpoint: Path, *, name: str, learnt: str, seed: int, data: Path, also_test: bool, shipped: Calibration
) -> list[Facts]:
    """Slice AUCs and Dice of one checkpoint. ``learnt``: sources whose slices or labels it learned from beside the masks.

    The score is the log odds as they were in training; where labels were learnt from there are two more sets of facts: of the
    pattern weighed against the share as ``shipped`` weighs it for a slice, and of the share of lesion alone.
    """
    network = LungLesionNetwork(onnx_bytes(checkpoint))
    state = torch.load(checkpoint, map_location="cpu")
    masks = {key: value for key, value in mask_facts(network, data / "slices").items() if key in ("lung", "lesion")}
    seen: dict[str, list[Measured]] = {}
    for source in SOURCES:
        train, val = (measure_slices(network, data / "slices", source=source, splits=(split,)) for split in ("train", "val"))
        seen |= {f"{source} train and val": [train, val], f"{source} val": [val]}
    if also_test:
        seen["ucsd test"] = [measure_slices(network, data / "slices", source="ucsd", splits=("test",))]

    def facts(title: str, *, pattern_weight: float) -> Facts:
        coefficients = np.array([*state["logistic"].tolist(), pattern_weight])
        return {
            "name": title,
            "learnt": learnt.split(),
            "seed": seed,
            "auc": {key: _auc(parts, coefficients) for key, parts in seen.items()},
            **masks,
        }

    if not state.get("labelled", False):
        return [facts(name, pattern_weight=0.0)]
    weight = state["logistic"].tolist()[1] * shipped.slice_pattern_slope / shipped.slice_slope
    return [
        facts(name, pattern_weight=1.0),
        facts(f"{name}: weighed as shipped", pattern_weight=weight),
        facts(f"{name}: by the share alone", pattern_weight=0.0),
    ]


def _auc(parts: list[Measured], coefficients: NDArray[np.float64]) -> Facts | None:
    score = np.concatenate([part.features @ coefficients for part in parts])
    label, group = (np.concatenate([getattr(part, key) for part in parts]) for key in ("label", "group"))
    return discrimination(Sample(score=score, label=label, patient=group))


def add_run(facts: Facts, file: Path) -> None:
    """Put a run among those of ``file``, in place of one of the same name and seed."""
    known = json.loads(file.read_text()) if file.exists() else []
    kept = [row for row in known if (row["name"], row["seed"]) != (facts["name"], facts["seed"])]
    file.write_text(json.dumps(sorted([*kept, facts], key=lambda row: (row["name"], row["seed"])), indent=1) + "\n")


def spread(rows: list[Facts], key: str) -> tuple[float, float]:
    """Mean and standard deviation over seeds of a slice AUC."""
    values = [row["auc"][key]["value"] for row in rows]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
