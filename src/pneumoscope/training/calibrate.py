"""From lesion share to probability, fitted on labelled slices of training groups, judged on groups held out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, scale_hu
from pneumoscope.segmentation.network import BATCH, LungLesionNetwork
from pneumoscope.training.data import labelled_slices

FLOOR = 0.002
BOOTSTRAPS = 1000
#: Sources with both labels. The network has seen neither; only these two numbers are fitted on their training groups.
SOURCES = ("sars", "ucsd")
POSITIVE = "covid"
#: "No sign" clears this share of the slices without COVID-19 in the training groups of a source of mostly healthy negatives.
CLEAR_SOURCE, CLEARED = "sars", 0.9
SIGN_FROM = 0.65


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Lesion shares (n,) of labelled slices, with label 0 or 1 and group of each."""

    share: NDArray[np.float64]
    label: NDArray[np.int64]
    group: NDArray[np.str_]


def measure_shares(network: LungLesionNetwork, root: Path, *, source: str, split: str, lesion_threshold: float) -> Shares:
    """Share of lung that is lesion in each slice of one source and split."""
    slices, labels = labelled_slices(root, source=source, split=split)
    found = []
    for start in range(0, len(slices.hu), BATCH):
        pictures = np.stack([network_picture(hu) for hu in slices.hu[start : start + BATCH]])
        probability = network(pictures)
        lung = (probability[:, 0] >= 128) | (probability[:, 1] >= 128)
        lesion = probability[:, 1] >= round(lesion_threshold * 255)
        found += list(lesion.sum((1, 2)) / np.maximum(lung.sum((1, 2)), 0.02 * NETWORK_SIZE_PX**2))
    return Shares(
        share=np.array(found, dtype=np.float64),
        label=np.array([label == POSITIVE for label in labels], dtype=np.int64),
        group=np.array(slices.groups),
    )


def network_picture(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """A stored slice (row, column) as the network sees it."""
    size = (NETWORK_SIZE_PX, NETWORK_SIZE_PX)
    return np.asarray(Image.fromarray(scale_hu(hu)).resize(size, Image.Resampling.BILINEAR))


def fit_logistic(feature: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Intercept and slope of a logistic regression on one feature, by Newton's method with a trace of ridge."""
    design = np.column_stack([np.ones_like(feature), feature])
    beta = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (weight * (label - p)) - 1e-4 * beta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-4 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta += step
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[0]), float(beta[1])


def fit_calibration(parts: Mapping[str, Shares]) -> dict[str, float]:
    """Calibration for equal weight of each source and of each label within it, so that neither's prevalence is learnt."""
    feature = np.concatenate([np.log10(part.share + FLOOR) for part in parts.values()])
    label = np.concatenate([part.label for part in parts.values()])
    weight = np.concatenate(
        [
            np.where(part.label == 1, 0.5 / part.label.mean(), 0.5 / (1 - part.label.mean())) / len(part.label)
            for part in parts.values()
        ]
    )
    intercept, slope = fit_logistic(feature, label, weight * len(weight) / weight.sum())
    clear = parts[CLEAR_SOURCE]
    limit = float(np.quantile(clear.share[clear.label == 0], CLEARED))
    return {
        "intercept": round(intercept, 4),
        "slope": round(slope, 4),
        "floor": FLOOR,
        "no_sign_below": round(1 / (1 + float(np.exp(-(intercept + slope * np.log10(limit + FLOOR))))), 2),
        "sign_from": SIGN_FROM,
    }


def auc(score: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Area under the ROC curve (Mann-Whitney), ties counted half."""
    order = np.argsort(score, kind="stable")
    values, inverse, counts = np.unique(score[order], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2)[inverse]
    positives = label[order] == 1
    n, m = int(positives.sum()), int((~positives).sum())
    return float((rank[positives].sum() - n * (n + 1) / 2) / (n * m)) if n and m and len(values) else float("nan")


def interval(shares: Shares, *, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the AUC, whole groups (patients) drawn with replacement."""
    rng = np.random.default_rng(seed)
    names = np.unique(shares.group)
    members = {name: np.flatnonzero(shares.group == name) for name in names}
    values = []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([members[name] for name in rng.choice(names, len(names))])
        value = auc(shares.share[drawn], shares.label[drawn])
        if np.isfinite(value):
            values.append(value)
    low, high = np.percentile(values, [2.5, 97.5])
    return round(float(low), 3), round(float(high), 3)
