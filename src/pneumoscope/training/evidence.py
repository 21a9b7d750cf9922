"""What the bundle reaches on data held out, with intervals and counts, and the model card that tells it."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from pneumoscope.geometry import intervals_mm
from pneumoscope.models import Bundle, Calibration
from pneumoscope.phantom import Lesion, LesionKind, PhantomSpec, render, true_volumes_ml
from pneumoscope.pipeline import load_path, read_volume
from pneumoscope.records import Reading, Region, Study, Volume
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.segmentation.grid import NETWORK_SIZE_PX
from pneumoscope.singleslice import network_picture
from pneumoscope.training.calibrate import Shares, auc, interval, measure_shares
from pneumoscope.training.data import load_slices

HELD_OUT = (("sars", "val"), ("ucsd", "val"), ("ucsd", "test"))
STUDIES = ("covid_p001", "cap_001", "normal_001")
SPACINGS_MM = (0.5, 1.0, 2.0, 3.0, 5.0)
LESIONS = (
    Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(-85.0, 50.0, 110.0), volume_ml=20.0, seed=1),
    Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(80.0, 40.0, 170.0), volume_ml=5.0, seed=2),
    Lesion(kind=LesionKind.CONSOLIDATION, centre_mm=(80.0, 50.0, 90.0), volume_ml=10.0, seed=3),
)
Facts = dict[str, Any]


def gather(bundle: Bundle, data: Path) -> Facts:
    """Everything the card tells; slices and studies held out from training, and phantoms."""
    network = LungLesionNetwork(bundle.onnx)
    return {
        "masks": _masks(network, bundle, data / "slices"),
        "slices": [_slices(network, bundle, data / "slices", source, split) for source, split in HELD_OUT],
        "studies": [_study(bundle, data / "volumes", name) for name in track(STUDIES, description="studies")],
        "phantoms": [_phantom(bundle, mm) for mm in track(SPACINGS_MM, description="phantoms")],
    }


def _masks(network: LungLesionNetwork, bundle: Bundle, root: Path) -> Facts:
    """Dice against the masks of the patients held out, pooled over each patient's slices, on the network's own grid."""
    held_out = load_slices(root, source="ctseg", split="val", labels=("covid",))
    found = np.concatenate([network(network_picture(hu)[None]) for hu in held_out.hu])
    step = np.rint(np.linspace(0, held_out.hu.shape[1] - 1, NETWORK_SIZE_PX)).astype(int)
    rows = []
    for group in sorted(set(held_out.groups)):
        members = np.array([g == group for g in held_out.groups])
        lungs, lesions = (truth[members][:, step][:, :, step] > 0 for truth in (held_out.lungs, held_out.lesions))
        a, b = found[members, 0] >= 128, found[members, 1] >= round(bundle.lesion_threshold * 255)
        rows.append({"patient": group, "slices": int(members.sum()), "lung": _dice(a, lungs), "lesion": _dice(b, lesions)})
    return {"patients": rows, **{key: round(float(np.mean([row[key] for row in rows])), 3) for key in ("lung", "lesion")}}


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return round(2 * float((a & b).sum()) / max(1.0, float(a.sum() + b.sum())), 3)


def _slices(network: LungLesionNetwork, bundle: Bundle, root: Path, source: str, split: str) -> Facts:
    shares = measure_shares(network, root, source=source, split=split)
    probability = _probability(shares.share, bundle.calibration)
    low, high = interval(shares)
    return {
        "source": source,
        "split": split,
        "n": len(shares.label),
        "positive": int(shares.label.sum()),
        "groups": len(set(shares.group)),
        "auc": round(auc(shares.share, shares.label), 3),
        "auc_95": [low, high],
        "brier": round(float(np.mean((probability - shares.label) ** 2)), 3),
        **_operating_points(probability, shares, bundle.calibration),
    }


def _probability(share: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-(calibration.intercept + calibration.slope * np.log10(share + calibration.floor))))


def _operating_points(probability: NDArray[np.float64], shares: Shares, calibration: Calibration) -> Facts:
    positive = shares.label == 1
    return {
        "not_no_sign": [
            round(float((probability[group] >= calibration.no_sign_below).mean()), 3) for group in (positive, ~positive)
        ],
        "sign": [round(float((probability[group] >= calibration.sign_from).mean()), 3) for group in (positive, ~positive)],
    }


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
    made = render(spec)
    positions_mm = spec.positions_mm
    corner_mm = -(spec.size_px - 1) / 2 * spec.pixel_spacing_mm
    origins = np.column_stack([np.full(spec.slices, corner_mm), np.full(spec.slices, corner_mm), positions_mm])
    volume = Volume(
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
    return read_volume(volume, bundle)


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


def write_card(bundle: Bundle, facts: Facts, *, to: Path) -> None:
    """The model card, in Markdown; every figure comes from ``facts`` or the bundle."""
    from pneumoscope.training.card import card_text

    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(card_text(bundle, facts), encoding="utf-8")
