"""From lesion share to probability, fitted on labelled slices of validation groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.models import Calibration
from pneumoscope.segmentation.network import BATCH, LungLesionNetwork
from pneumoscope.singleslice import network_picture, shares
from pneumoscope.training.data import labelled_slices

FLOOR = 0.002
BOOTSTRAPS = 1000
#: Sources with both labels; calibration is fitted on their validation groups.
SOURCES = ("sars", "ucsd")
#: Those whose pictures follow one another as in a scan, patient after patient.
ORDERED_SOURCES, RUN_SLICES = ("sars",), 16
POSITIVE = "covid"
RULE_OUT_SENSITIVITY = 0.9


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Lesion shares (n,) of labelled slices, with label 0 or 1 and group of each."""

    share: NDArray[np.float64]
    label: NDArray[np.int64]
    group: NDArray[np.str_]


def measure_shares(network: LungLesionNetwork, root: Path, *, source: str, split: str) -> Shares:
    """Mean probability of lesion over the lungs of each slice of one source and split."""
    slices, labels = labelled_slices(root, source=source, split=split)
    found = []
    for start in range(0, len(slices.hu), BATCH):
        pictures = np.stack([network_picture(hu) for hu in slices.hu[start : start + BATCH]])
        found += list(shares(network(pictures))[0])
    return Shares(
        share=np.array(found, dtype=np.float64),
        label=np.array([label == POSITIVE for label in labels], dtype=np.int64),
        group=np.array(slices.groups),
    )


def fit_logistic(feature: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Intercept and slope of a logistic regression on one feature, by Newton's method with a trace of ridge."""
    design = np.column_stack([np.ones_like(feature), feature])
    beta = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (weight * (target - p)) - 1e-4 * beta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-4 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta += step
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[0]), float(beta[1])


def fit_calibration(parts: Mapping[str, Shares]) -> Calibration:
    """Both lines and both limits, each source and each label within it weighing the same, so that no prevalence is learnt.

    Limits are those of single slices: "no sign" is what ``RULE_OUT_SENSITIVITY`` of the positives exceed; "sign" begins where
    sensitivity and specificity add up to most.
    """
    slices = _line(list(parts.values()))
    study = _line([stretches(part) for name, part in parts.items() if name in ORDERED_SOURCES])
    score = np.concatenate([1 / (1 + np.exp(-(slices[0] + slices[1] * np.log10(p.share + FLOOR)))) for p in parts.values()])
    label = np.concatenate([part.label for part in parts.values()])
    weight = np.concatenate([_weights(part) for part in parts.values()])
    order = np.argsort(score)
    missed = np.cumsum((weight * label)[order]) / (weight * label).sum()
    cleared = np.cumsum((weight * (1 - label))[order]) / (weight * (1 - label)).sum()
    rule_out = float(score[order][np.searchsorted(missed, 1 - RULE_OUT_SENSITIVITY)])
    triage = float(score[order][int(np.argmax(cleared - missed))])
    return Calibration(
        intercept=round(study[0], 4),
        slope=round(study[1], 4),
        slice_intercept=round(slices[0], 4),
        slice_slope=round(slices[1], 4),
        floor=FLOOR,
        no_sign_below=round(min(rule_out, triage), 3),
        sign_from=round(triage, 3),
    )


def stretches(part: Shares) -> Shares:
    """Runs of ``RUN_SLICES`` neighbours of an ordered source, each standing for a study, with the share of its worst pair.

    Pictures of these sources lie about a centimetre apart, so a pair is a stretch as a study is judged by.
    """
    share, label, group = [], [], []
    for name in dict.fromkeys(part.group):
        members = np.flatnonzero(part.group == name)
        for run in np.array_split(members, max(1, round(len(members) / RUN_SLICES))):
            share.append(float(np.max((part.share[run][1:] + part.share[run][:-1]) / 2)))
            label.append(int(part.label[run][0]))
            group.append(str(name))
    return Shares(share=np.array(share), label=np.array(label), group=np.array(group))


def _line(parts: list[Shares]) -> tuple[float, float]:
    """Intercept and slope on log10 of the share; targets drawn in from 0 and 1 as few cases demand (Platt, 1999)."""
    feature = np.concatenate([np.log10(part.share + FLOOR) for part in parts])
    label = np.concatenate([part.label for part in parts])
    n, m = int(label.sum()), int((1 - label).sum())
    target = np.where(label == 1, (n + 1) / (n + 2), 1 / (m + 2))
    weight = np.concatenate([_weights(part) for part in parts])
    return fit_logistic(feature, target, weight * len(weight) / weight.sum())


def _weights(part: Shares) -> NDArray[np.float64]:
    share = part.label.mean()
    return np.where(part.label == 1, 0.5 / share, 0.5 / (1 - share)) / len(part.label)


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
