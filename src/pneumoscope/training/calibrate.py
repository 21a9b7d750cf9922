"""From lesion share and pattern to probability, fitted on labelled slices that the network has not learned from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.classification import drawn_in
from pneumoscope.models import Calibration
from pneumoscope.segmentation.evidence import Sums, pattern
from pneumoscope.segmentation.network import BATCH, Found, LungLesionNetwork
from pneumoscope.singleslice import Judged, judge, network_picture
from pneumoscope.training.data import labelled_slices

FLOOR = 0.002
#: Sources with both labels.
SOURCES = ("sars", "ucsd")
#: Those whose pictures follow one another as in a scan, patient after patient.
ORDERED_SOURCES, RUN_SLICES = ("sars",), 16
POSITIVE = "covid"
PATTERN_WEIGHTS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
#: "No sign" is below what this share of the positives reach; of slices fewer, since many of the sick show nothing. "Sign" of a
#: study is above what this share of the negatives stay below.
STUDY_SENSITIVITY, STUDY_SPECIFICITY, SLICE_SENSITIVITY = 0.95, 0.95, 0.9


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a network saw in labelled slices, (n,) each: share of lesion, log odds of its pattern, label 0 or 1, group."""

    share: NDArray[np.float64]
    pattern: NDArray[np.float64]
    label: NDArray[np.int64]
    group: NDArray[np.str_]
    sums: Sums

    @property
    def features(self) -> NDArray[np.float64]:
        """(n, 3): one, log10 of the share, pattern."""
        return np.column_stack([np.ones(len(self.share)), np.log10(self.share + FLOOR), self.pattern])


def measure_slices(network: LungLesionNetwork, root: Path, *, source: str, splits: tuple[str, ...]) -> Measured:
    """What ``network`` sees in each slice of one source and some of its splits."""
    parts = [labelled_slices(root, source=source, split=split) for split in splits]
    hu = np.concatenate([slices.hu for slices, _ in parts])
    seen = judge_all(network, hu)
    return Measured(
        share=seen.lesion_share,
        pattern=seen.pattern,
        label=np.array([label == POSITIVE for _, labels in parts for label in labels], dtype=np.int64),
        group=np.array([group for slices, _ in parts for group in slices.groups]),
        sums=seen.sums,
    )


def judge_all(network: LungLesionNetwork, hu: NDArray[np.float32]) -> Judged:
    """``judge`` for (n, 256, 256) HU, batch by batch."""
    batches = (hu[start : start + BATCH] for start in range(0, len(hu), BATCH))
    found = [network(np.stack([network_picture(picture) for picture in batch])) for batch in batches]
    return judge(Found(*(np.concatenate(part) for part in zip(*found, strict=True))))


def fit_logistic(
    features: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(k,) coefficients of a logistic regression on (n, k) features, by Newton's method with a trace of ridge."""
    beta = np.zeros(features.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-features @ beta))
        gradient = features.T @ (weight * (target - p)) - 1e-4 * beta
        hessian = (features * (weight * p * (1 - p))[:, None]).T @ features + 1e-4 * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        beta += step
        if np.abs(step).max() < 1e-9:
            break
    return beta


def fit_calibration(parts: Mapping[str, Measured]) -> Calibration:
    """Coefficients and limits of slices and of studies; sources and labels weigh the same, so that no prevalence is learnt."""
    slices = list(parts.values())
    studies = [stretches(part) for name, part in parts.items() if name in ORDERED_SOURCES]
    weight = _pattern_weight([*slices, *studies])
    study, single = _coefficients(studies, weight), _coefficients(slices, weight)
    surest = _surest(studies)
    limits = _limits(studies, study, surest=surest, sensitivity=STUDY_SENSITIVITY, specificity=STUDY_SPECIFICITY)
    slice_limits = _limits(slices, single, surest=1.0, sensitivity=SLICE_SENSITIVITY, specificity=None)
    return Calibration(
        intercept=round(float(study[0]), 4),
        slope=round(float(study[1]), 4),
        pattern_slope=round(float(study[2]), 4),
        surest=surest,
        slice_intercept=round(float(single[0]), 4),
        slice_slope=round(float(single[1]), 4),
        slice_pattern_slope=round(float(single[2]), 4),
        floor=FLOOR,
        no_sign_below=limits[0],
        sign_from=limits[1],
        slice_no_sign_below=slice_limits[0],
        slice_sign_from=slice_limits[1],
    )


def _surest(parts: list[Measured]) -> float:
    """(n + 1) / (n + 2), the rule of succession, n being the groups of the scarcer label, all of them on its side."""
    groups = [len({name for part in parts for name in part.group[part.label == label]}) for label in (0, 1)]
    return round((min(groups) + 1) / (min(groups) + 2), 3)


def _limits(
    parts: list[Measured],
    coefficients: NDArray[np.float64],
    *,
    surest: float,
    sensitivity: float,
    specificity: float | None,
) -> tuple[float, float]:
    """Where "no sign" ends, ``sensitivity`` of the positives lying above, and where "sign" begins.

    That is where ``specificity`` of the negatives lie below, or without one where both add up to most.
    """
    label = np.concatenate([part.label for part in parts])
    weight = np.concatenate([_weights(part) for part in parts])
    score = drawn_in(1 / (1 + np.exp(-np.concatenate([part.features for part in parts]) @ coefficients)), surest)
    order = np.argsort(score)
    missed = np.cumsum((weight * label)[order]) / (weight * label).sum()
    cleared = np.cumsum((weight * (1 - label))[order]) / (weight * (1 - label)).sum()
    ascending = np.append(score[order], 1.0)
    rule_out = float(ascending[np.searchsorted(missed, 1 - sensitivity)])
    best = int(np.argmax(cleared - missed)) if specificity is None else int(np.searchsorted(cleared, specificity))
    triage = float(ascending[best] + ascending[best + 1]) / 2
    return round(min(rule_out, triage), 3), round(triage, 3)


def stretches(part: Measured) -> Measured:
    """Runs of ``RUN_SLICES`` neighbours of an ordered source, each standing for a study, judged by its most involved pair.

    Pictures of these sources lie about a centimetre apart, so a pair is a stretch as a study is judged by.
    """
    pairs, label, group = [], [], []
    for name in dict.fromkeys(part.group):
        members = np.flatnonzero(part.group == name)
        for run in np.array_split(members, max(1, round(len(members) / RUN_SLICES))):
            first = int(run[np.argmax((part.share[run][1:] + part.share[run][:-1]) / 2)])
            pairs.append((first, first + 1))
            label.append(int(part.label[run][0]))
            group.append(str(name))
    both = np.array(pairs)
    sums = Sums(*(values[both].sum(axis=1) for values in part.sums))
    return Measured(
        share=part.share[both].mean(axis=1), pattern=pattern(sums), label=np.array(label), group=np.array(group), sums=sums
    )


def _pattern_weight(parts: list[Measured]) -> float:
    """What one of log odds of the pattern counts against one of log10 of the share: what ranks best, on average over the parts.

    Ranks are within a part, so that the level that a network has at a hospital it never saw does not count.
    """

    def rank(weight: float) -> float:
        return float(np.mean([auc(part.features[:, 1] + weight * part.features[:, 2], part.label) for part in parts]))

    return max(PATTERN_WEIGHTS, key=rank)


def _coefficients(parts: list[Measured], pattern_weight: float) -> NDArray[np.float64]:
    """Of the features; targets drawn in from 0 and 1 as few cases demand (Platt, 1999).

    Each source has a level of its own, of which the mean is taken: what differs between sources must not pass for an effect.
    """
    label = np.concatenate([part.label for part in parts])
    n, m = int(label.sum()), int((1 - label).sum())
    target = np.where(label == 1, (n + 1) / (n + 2), 1 / (m + 2))
    weight = np.concatenate([_weights(part) for part in parts])
    levels = np.repeat(np.eye(len(parts)), [len(part.label) for part in parts], axis=0)
    both = np.concatenate([part.features[:, 1] + pattern_weight * part.features[:, 2] for part in parts])
    *level, slope = fit_logistic(np.column_stack([levels, both]), target, weight * len(weight) / weight.sum())
    return np.array([np.mean(level), slope, slope * pattern_weight])


def _weights(part: Measured) -> NDArray[np.float64]:
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
