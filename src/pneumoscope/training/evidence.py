"""What the bundle reaches on data held out, with intervals and counts, and the model card that tells it."""

import csv
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from pneumoscope.classification import probability, slice_probability
from pneumoscope.evaluation import metrics
from pneumoscope.evaluation.metrics import Sample
from pneumoscope.geometry import intervals_mm
from pneumoscope.models import Bundle, Calibration
from pneumoscope.phantom import Lesion, LesionKind, PhantomSpec, render, true_volumes_ml
from pneumoscope.pipeline import load_path, read_volume
from pneumoscope.records import Reading, Region, Study, Volume
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, NetworkGrid
from pneumoscope.segmentation.network import look
from pneumoscope.singleslice import network_picture
from pneumoscope.training.calibrate import ORDERED_SOURCES, SOURCES, Measured, auc, measure_slices, stretches
from pneumoscope.training.data import load_slices
from pneumoscope.training.shortcuts import blanked, giveaways, outside_lungs, splits

HELD_OUT = (("sars", "val"), ("ucsd", "val"), ("ucsd", "test"))
STUDIES = ("covid_p001", "cap_001", "normal_001")
WORST = 20
SPACINGS_MM = (0.5, 1.0, 2.0, 3.0, 5.0)
LESIONS = (
    Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(-85.0, 50.0, 110.0), volume_ml=20.0, seed=1),
    Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(80.0, 40.0, 170.0), volume_ml=5.0, seed=2),
    Lesion(kind=LesionKind.CONSOLIDATION, centre_mm=(80.0, 50.0, 90.0), volume_ml=10.0, seed=3),
)
Facts = dict[str, Any]


def gather(bundle: Bundle, data: Path) -> Facts:
    """Everything the card tells; slices and studies held out from training, tests for shortcuts, and phantoms."""
    network = LungLesionNetwork(bundle.onnx)
    root = data / "slices"
    found = {(source, split): measure_slices(network, root, source=source, splits=(split,)) for source, split in HELD_OUT}
    return {
        "masks": {**mask_facts(network, root), "outside_lungs": outside_lungs(network, root)},
        "slices": [_slices(seen, bundle.calibration, *where) for where, seen in found.items()],
        "stretches": [
            _stretches(network, bundle.calibration, root, source, split)
            for source in ORDERED_SOURCES
            for split in ("train", "val")
        ],
        "blanked": [blanked(network, bundle.calibration, root, source=source, split="val") for source in SOURCES],
        "giveaways": [giveaways(root, source=source) for source in SOURCES],
        "splits": [splits(root, source=source) for source in SOURCES],
        "worst": _worst(found, bundle.calibration, root),
        "studies": [_study(bundle, data / "volumes", name) for name in track(STUDIES, description="studies")],
        "phantoms": [_phantom(bundle, mm) for mm in track(SPACINGS_MM, description="phantoms")],
        "inference_seconds": _inference_seconds(bundle),
    }


def mask_facts(network: LungLesionNetwork, root: Path) -> Facts:
    """Dice and volume against the masks of the patients held out, over each patient's slices, on the network's own grid."""
    held_out = load_slices(root, source="ctseg", split="val", labels=("covid",))
    found = np.concatenate([network(network_picture(hu)[None]).probability for hu in held_out.hu])
    step = np.rint(np.linspace(0, held_out.hu.shape[1] - 1, NETWORK_SIZE_PX)).astype(int)
    rows = []
    for group in sorted(set(held_out.groups)):
        members = np.array([g == group for g in held_out.groups])
        lungs, lesions = (truth[members][:, step][:, :, step] > 0 for truth in (held_out.lungs, held_out.lesions))
        a, b = (found[members, channel] >= 128 for channel in (0, 1))
        volume = round(float(b.sum()) / float(lesions.sum()), 3)
        rows.append(
            {
                "patient": group,
                "slices": int(members.sum()),
                "lung": _dice(a, lungs),
                "lesion": _dice(b, lesions),
                "volume": volume,
            }
        )
    means = {key: round(float(np.mean([row[key] for row in rows])), 3) for key in ("lung", "lesion", "volume")}
    return {"patients": rows, **means}


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return round(2 * float((a & b).sum()) / max(1.0, float(a.sum() + b.sum())), 3)


def _slices(seen: Measured, calibration: Calibration, source: str, split: str) -> Facts:
    limits = (calibration.slice_no_sign_below, calibration.slice_sign_from)
    return {"source": source, "split": split, **_judged(_slice_scores(seen, calibration), seen, limits)}


def _slice_scores(seen: Measured, calibration: Calibration) -> NDArray[np.float64]:
    pairs = zip(seen.share, seen.pattern, strict=True)
    return np.array([slice_probability(float(share), float(pattern), calibration) for share, pattern in pairs])


def _stretches(network: LungLesionNetwork, calibration: Calibration, root: Path, source: str, split: str) -> Facts:
    runs = stretches(measure_slices(network, root, source=source, splits=(split,)))
    pairs = zip(runs.share, runs.pattern, strict=True)
    score = np.array([probability(float(share), float(pattern), calibration) for share, pattern in pairs])
    return {"source": source, "split": split, **_judged(score, runs, (calibration.no_sign_below, calibration.sign_from))}


def _judged(score: NDArray[np.float64], seen: Measured, limits: tuple[float, float]) -> Facts:
    sample = Sample(score=score, label=seen.label, patient=seen.group)
    quality = metrics.calibration(sample)
    return {
        **sample.counts,
        "auc": metrics.discrimination(sample),
        "brier": quality["brier"],
        "calibration_error": quality["expected_calibration_error"],
        "bins": quality["bins"],
        "rule_out": metrics.at_threshold(sample, limits[0], ()),
        "triage": metrics.at_threshold(sample, limits[1], ()),
    }


def _worst(found: dict[tuple[str, str], Measured], calibration: Calibration, root: Path) -> list[Facts]:
    """The slices of the validation groups whose score is furthest from their label."""
    rows: list[Facts] = []
    for (source, split), seen in found.items():
        if split != "val":
            continue
        with (root / "manifest.csv").open(newline="") as file:
            files = [row["file"] for row in csv.DictReader(file) if (row["set"], row["split"]) == (source, split)]
        scores = _slice_scores(seen, calibration)
        for name, share, score, label in zip(files, seen.share, scores, seen.label, strict=True):
            rows.append(
                {
                    "file": name,
                    "label": int(label),
                    "score": round(float(score), 3),
                    "share_percent": round(float(share) * 100, 2),
                }
            )
    half = WORST // 2  # of each kind, since the scores of missed ones can never be as wrong as those of false alarms
    missed = sorted((row for row in rows if row["label"]), key=lambda row: row["score"])[:half]
    alarms = sorted((row for row in rows if not row["label"]), key=lambda row: row["score"], reverse=True)[:half]
    return [*missed, *alarms]


def _inference_seconds(bundle: Bundle) -> Facts:
    """Seconds that the network takes for a study of 300 slices of 1 mm, best of three, with how many slices it looks at."""
    spec = PhantomSpec(slices=300, slice_spacing_mm=1.0, lesions=LESIONS, seed=101)
    volume = phantom_volume(spec)
    network, grid = LungLesionNetwork(bundle.onnx), NetworkGrid.of(volume)
    spent = []
    for _ in range(3):
        began_s = time.monotonic()
        look(volume, network, grid)
        spent.append(time.monotonic() - began_s)
    return {"slices": 300, "best_s": round(min(spent), 2)}


def _study(bundle: Bundle, root: Path, name: str) -> Facts:
    volume, verdicts = load_path(root / name)
    reading = read_volume(volume, bundle, verdicts=verdicts)
    with (root / "slice_labels.csv").open(newline="") as file:
        label = {row["sop_instance_uid"]: int(row["infected"]) for row in csv.DictReader(file)}
    truth = np.array([label[i.SOPInstanceUID] for i in volume.instances])
    lung, lesion = (np.count_nonzero(mask, axis=(1, 2)) for mask in (reading.masks.lungs, reading.masks.lesions))
    lungs = reading.finding(Region.LUNGS)
    return {
        "study": name,
        "slices": len(truth),
        "infected": int(truth.sum()),
        "lung_ml": round(lungs.volume_ml),
        "share_percent": round(lungs.share * 100, 2),
        "score": None if reading.scores.probability is None else round(reading.scores.probability, 3),
        "category": str(reading.scores.category),
        "auc_share_of_slice": _slice_auc(lesion / np.maximum(lung, 1), truth),
        "auc_share_of_largest": _slice_auc(lesion / max(1, int(lung.max())), truth),
        "notices": [notice.code for notice in reading.notices],
    }


def _slice_auc(score: NDArray[np.float64], truth: NDArray[np.int64]) -> float | None:
    return round(auc(score, truth), 3) if truth.any() else None


def read_phantom(spec: PhantomSpec, bundle: Bundle) -> Reading:
    """Render and read without the way through files."""
    return read_volume(phantom_volume(spec), bundle)


def phantom_volume(spec: PhantomSpec) -> Volume:
    """A rendered phantom as if it had been loaded."""
    made = render(spec)
    positions_mm = spec.positions_mm
    corner_mm = -(spec.size_px - 1) / 2 * spec.pixel_spacing_mm
    origins = np.column_stack([np.full(spec.slices, corner_mm), np.full(spec.slices, corner_mm), positions_mm])
    return Volume(
        study=Study(StudyInstanceUID="2.25.1"),
        instances=(),
        hu=made.hu,
        positions_mm=positions_mm,
        intervals_mm=intervals_mm(positions_mm),
        origins_mm=origins,
        ImageOrientationPatient=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        PixelSpacing=(spec.pixel_spacing_mm, spec.pixel_spacing_mm),
        SliceThickness=spec.slice_thickness_mm or spec.slice_spacing_mm,
    )


def _phantom(bundle: Bundle, spacing_mm: float) -> Facts:
    spec = PhantomSpec(slices=round(300 / spacing_mm), slice_spacing_mm=spacing_mm, lesions=LESIONS, seed=101)
    truth = true_volumes_ml(spec)
    reading = read_phantom(spec, bundle)
    clean = read_phantom(replace(spec, lesions=()), bundle) if spacing_mm >= 1 else None
    lesion_ml = truth["ground-glass"] + truth["consolidation"]
    return {
        "spacing_mm": spacing_mm,
        "right": round(reading.finding(Region.RIGHT_LUNG).volume_ml / truth["right"], 3),
        "left": round(reading.finding(Region.LEFT_LUNG).volume_ml / truth["left"], 3),
        "lesions": round(reading.finding(Region.LUNGS).lesion_ml / lesion_ml, 3),
        "clean_lesion_ml": None if clean is None else round(clean.finding(Region.LUNGS).lesion_ml, 2),
    }
