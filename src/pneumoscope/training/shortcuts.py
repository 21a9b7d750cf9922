"""Does the score look at lungs, or at what gives a source away? Each test could fail, and is told as it comes out."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pneumoscope.classification import slice_probability
from pneumoscope.evaluation.metrics import Sample, discrimination
from pneumoscope.models import Calibration
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.segmentation.evidence import densities, sum_up
from pneumoscope.segmentation.network import BATCH
from pneumoscope.segmentation.outline import HALF
from pneumoscope.singleslice import network_picture, read_grey
from pneumoscope.training.calibrate import POSITIVE, judge_all
from pneumoscope.training.data import labelled_slices, load_slices

Facts = dict[str, Any]
MUSCLE_HU, AIR_HU = 40.0, -1000.0
#: Lungs are grown by so many pixels before they are blanked or before all else is.
MARGIN_PX = 4
NEIGHBOURS, THUMB_PX = 5, 24


def blanked(network: LungLesionNetwork, calibration: Calibration, root: Path, *, source: str, split: str) -> Facts:
    """AUC as it is, with the lungs painted over, and with all but the lungs painted over."""
    slices, labels = labelled_slices(root, source=source, split=split)
    label = np.array([name == POSITIVE for name in labels], dtype=np.int64)
    lungs = np.concatenate([_lungs(network, slices.hu[k : k + BATCH]) for k in range(0, len(slices.hu), BATCH)])
    near = np.array([ndimage.binary_dilation(lung, iterations=MARGIN_PX) for lung in lungs])
    versions = {
        "as_it_is": slices.hu,
        "lungs_blanked": np.where(near, MUSCLE_HU, slices.hu).astype(np.float32),
        "only_lungs": np.where(near, slices.hu, AIR_HU).astype(np.float32),
    }
    facts: Facts = {"source": source, "split": split, "n": len(label)}
    for name, hu in versions.items():
        seen = judge_all(network, hu)
        pairs = zip(seen.lesion_share, seen.pattern, strict=True)
        score = np.array([slice_probability(float(share), float(pattern), calibration) for share, pattern in pairs])
        facts[name] = discrimination(Sample(score=score, label=label, patient=np.array(slices.groups)))
    return facts


def _lungs(network: LungLesionNetwork, hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    found = network(np.stack([network_picture(picture) for picture in hu])).probability.max(axis=1) >= HALF
    side = hu.shape[1]
    return np.array([np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST)) for mask in found])


def outside_lungs(network: LungLesionNetwork, root: Path) -> Facts:
    """Shares of the lesion's probability, and of all evidence of the pattern whatever its sign, outside the lungs of experts.

    Over the patients held out.
    """
    held_out = load_slices(root, source="ctseg", split="val", labels=("covid",))
    outside, total = np.zeros(2), np.zeros(2)
    for hu, drawn in zip(held_out.hu, held_out.lungs, strict=True):
        found = network(network_picture(hu)[None])
        lesion, lungs = found.probability[0, 1].astype(np.float64), found.probability[0].max(axis=0) >= HALF
        maps = densities(found.evidence, sum_up(lungs[None], found.probability[:, 1], found.evidence))[0]
        cell = len(lesion) // len(maps)
        evidence = np.where(lungs, np.abs(maps).repeat(cell, axis=0).repeat(cell, axis=1) * lesion, 0)
        inside = np.asarray(Image.fromarray(drawn).resize(lesion.shape, Image.Resampling.NEAREST)) > 0
        for k, values in enumerate((lesion, evidence)):
            outside[k] += values[~inside].sum()
            total[k] += values.sum()
    lesion_share, evidence_share = outside / total
    return {"lesion": round(float(lesion_share), 4), "evidence": round(float(evidence_share), 4)}


def giveaways(root: Path, *, source: str) -> Facts:
    """AUC on validation groups of a logistic regression on size, border, sharpness and range, learnt from training groups."""
    features, label, group, split = _giveaway_features(root, source)
    train, held_out = split == "train", split == "val"
    mean, deviation = features[train].mean(0), features[train].std(0) + 1e-6
    scaled = (features - mean) / deviation
    weight = np.zeros(scaled.shape[1] + 1)
    design = np.column_stack([np.ones(len(scaled)), scaled])
    for _ in range(40):  # Newton's method with a trace of ridge
        p = 1 / (1 + np.exp(-np.clip(design[train] @ weight, -30, 30)))
        gradient = design[train].T @ (label[train] - p) - 1e-2 * weight
        hessian = (design[train] * (p * (1 - p))[:, None]).T @ design[train] + 1e-2 * np.eye(len(weight))
        weight += np.linalg.solve(hessian, gradient)
    return {
        "source": source,
        "auc": discrimination(Sample(score=(design @ weight)[held_out], label=label[held_out], patient=group[held_out])),
    }


def _giveaway_features(
    root: Path, source: str
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.str_], NDArray[np.str_]]:
    rows = []
    with (root / "manifest.csv").open(newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["set"] == source and row["split"] in ("train", "val")]
    for row in listed:
        grey = read_grey(root / row["file"]).astype(np.float64)
        edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        low, high = np.percentile(grey, [1, 99])
        sharp = np.log(ndimage.laplace(grey).var() + 1)
        rows.append([*grey.shape, grey.shape[1] / grey.shape[0], edge.mean(), edge.std(), sharp, low, high])
    columns = {key: np.array([row[key] for row in listed]) for key in ("label", "group", "split")}
    return np.array(rows), (columns["label"] == POSITIVE).astype(np.int64), columns["group"], columns["split"]


def splits(root: Path, *, source: str, seed: int = 0) -> Facts:
    """AUC of the nearest neighbours among whole pictures, split at random and split by group: what a leak looks like."""
    with (root / "manifest.csv").open(newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["set"] == source and row["split"] in ("train", "val")]
    pictures = [
        Image.fromarray(read_grey(root / row["file"])).resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX) for row in listed
    ]
    flat = np.array([np.asarray(picture, dtype=np.float64).ravel() for picture in pictures])
    flat = (flat - flat.mean(1, keepdims=True)) / (flat.std(1, keepdims=True) + 1e-6)
    label = np.array([row["label"] == POSITIVE for row in listed], dtype=np.int64)
    group = np.array([row["group"] for row in listed])
    by_group = np.array([row["split"] == "val" for row in listed])
    at_random = np.random.default_rng(seed).permutation(by_group)
    facts: Facts = {"source": source}
    for name, held_out in (("at_random", at_random), ("by_group", by_group)):
        distance = ((flat[held_out] ** 2).sum(1)[:, None] + (flat[~held_out] ** 2).sum(1)) - 2 * flat[held_out] @ flat[
            ~held_out
        ].T
        nearest = np.argsort(distance, axis=1)[:, :NEIGHBOURS]
        score = label[~held_out][nearest].mean(axis=1)
        facts[name] = discrimination(Sample(score=score, label=label[held_out], patient=group[held_out]))
    return facts
