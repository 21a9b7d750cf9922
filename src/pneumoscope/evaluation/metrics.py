"""How good scores are, with intervals: 95 % bootstrap, whole patients drawn with replacement."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pneumoscope.evaluation.intervals import wilson

RESAMPLES = 2000
CALIBRATION_RESAMPLES = 400
BINS = 10
#: Smaller groups get no figures of their own: an interval over fewer patients says nothing.
MIN_PATIENTS = 10
_CHUNK = 4_000_000
Weights = NDArray[np.float64]
Statistic = Callable[[Weights], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Scored cases: ``score`` (n,) probabilities, ``label`` (n,) 0 or 1, ``patient`` (n,) names."""

    score: NDArray[np.float64]
    label: NDArray[np.int64]
    patient: NDArray[np.str_]

    def of(self, members: NDArray[np.bool_]) -> "Sample":
        """The cases chosen."""
        return Sample(score=self.score[members], label=self.label[members], patient=self.patient[members])

    @property
    def counts(self) -> dict[str, int]:
        """How many cases, patients and positives."""
        return {"n": len(self.label), "patients": len(np.unique(self.patient)), "positive": int(self.label.sum())}


def resampled(patient: NDArray[np.str_], *, resamples: int = RESAMPLES, seed: int = 0) -> Weights:
    """(resamples, n) how often each case is drawn when whole patients are drawn with replacement."""
    _, inverse = np.unique(patient, return_inverse=True)
    return _drawn(int(inverse.max()) + 1, resamples, seed)[:, inverse]


@lru_cache(maxsize=4)
def _drawn(patients: int, resamples: int, seed: int) -> Weights:
    """(resamples, patients); the same for every figure on the same patients, so that figures can be compared."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=resamples).astype(np.float64)


def auc(score: NDArray[np.float64], label: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    """(b,) areas under the ROC curve for (b, n) weights; ties count half, one class alone gives nan."""
    order = np.argsort(score, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    positives = np.add.reduceat(weights[:, order] * label[order], first, axis=1)
    negatives = np.add.reduceat(weights[:, order] * (1 - label[order]), first, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    total = positives.sum(axis=1) * negatives.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (positives * below).sum(axis=1) / total, np.nan)


def share(chosen: NDArray[np.bool_], among: NDArray[np.bool_], weights: Weights) -> NDArray[np.float64]:
    """(b,) weighted share of ``among`` (n,) that is ``chosen`` (n,); nan where there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ (chosen & among)) / (weights @ among)


def estimate(statistic: Statistic, sample: Sample, *, resamples: int = RESAMPLES) -> dict[str, float] | None:
    """{"value", "low", "high"} of a statistic of (b, n) weights; None where it is not defined on the sample."""
    value = float(statistic(np.ones((1, len(sample.label))))[0])
    if not np.isfinite(value):
        return None
    weights = resampled(sample.patient, resamples=resamples)
    step = max(1, _CHUNK // max(1, len(sample.label)))
    drawn = np.concatenate([statistic(weights[k : k + step]) for k in range(0, resamples, step)])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def discrimination(sample: Sample) -> dict[str, float] | None:
    """The AUC."""
    return estimate(lambda w: auc(sample.score, sample.label, w), sample)


def at_threshold(sample: Sample, threshold: float | NDArray[np.float64], prevalences: tuple[float, ...]) -> dict[str, Any]:
    """Sensitivity, specificity, accuracy, predictive values; positive is a score of ``threshold``, one or (n,), and above."""
    flagged, sick = sample.score >= threshold, sample.label == 1

    def sensitivity(w: Weights) -> NDArray[np.float64]:
        return share(flagged, sick, w)

    def specificity(w: Weights) -> NDArray[np.float64]:
        return share(~flagged, ~sick, w)

    def predictive(prevalence: float, *, positive: bool) -> Statistic:
        def value(w: Weights) -> NDArray[np.float64]:
            se, sp = sensitivity(w), specificity(w)
            right, wrong = (
                (se * prevalence, (1 - sp) * (1 - prevalence))
                if positive
                else (
                    sp * (1 - prevalence),
                    (1 - se) * prevalence,
                )
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                return right / (right + wrong)

        return value

    return {
        "sensitivity": estimate(sensitivity, sample),
        "specificity": estimate(specificity, sample),
        "accuracy": estimate(lambda w: share(flagged == sick, np.ones(len(sick), dtype=bool), w), sample),
        "predictive_values": [
            {
                "prevalence": prevalence,
                "ppv": estimate(predictive(prevalence, positive=True), sample),
                "npv": estimate(predictive(prevalence, positive=False), sample),
            }
            for prevalence in prevalences
        ],
    }


def calibration(sample: Sample) -> dict[str, Any]:
    """Brier score, expected calibration error over ten bins of equal width, mean difference, slope and intercept, and bins.

    Slope and intercept: logistic regression of the label on the logit of the score; 1 and 0 where calibration is perfect.
    """
    score, label = sample.score, sample.label
    bins = np.minimum((score * BINS).astype(int), BINS - 1)
    member = bins[:, None] == np.arange(BINS)

    def error(w: Weights) -> NDArray[np.float64]:
        return np.abs((w * (score - label)) @ member).sum(axis=1) / w.sum(axis=1)

    def line(w: Weights) -> NDArray[np.float64]:
        return _logistic(np.clip(score, 1e-6, 1 - 1e-6), label, w)

    return {
        "brier": estimate(lambda w: (w @ (score - label) ** 2) / w.sum(axis=1), sample),
        "expected_calibration_error": estimate(error, sample),
        "mean_score_minus_share_positive": estimate(lambda w: (w @ (score - label)) / w.sum(axis=1), sample),
        "intercept": estimate(lambda w: line(w)[:, 0], sample, resamples=CALIBRATION_RESAMPLES),
        "slope": estimate(lambda w: line(w)[:, 1], sample, resamples=CALIBRATION_RESAMPLES),
        "bins": [_bin(sample.of(member[:, k])) for k in range(BINS) if member[:, k].any()],
    }


def _bin(sample: Sample) -> dict[str, Any]:
    low, high = wilson(int(sample.label.sum()), len(sample.label))
    return {
        "n": len(sample.label),
        "mean_score": round(float(sample.score.mean()), 4),
        "share_positive": round(float(sample.label.mean()), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def _logistic(score: NDArray[np.float64], label: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    """(b, 2) intercept and slope by Newton's method; nan where a resample has one class only or is separable."""
    logit = np.log(score / (1 - score))
    x = np.column_stack([np.ones_like(logit), logit])
    products = np.column_stack([np.ones_like(logit), logit, logit**2])
    beta = np.zeros((len(weights), 2))
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(beta @ x.T, -30, 30)))
        gradient = (weights * (label - p)) @ x
        hessian = ((weights * p * (1 - p)) @ products)[:, [0, 1, 1, 2]].reshape(-1, 2, 2) + 1e-9 * np.eye(2)
        step = np.clip(np.linalg.solve(hessian, gradient[..., None])[..., 0], -2, 2)
        beta += step
        if np.abs(step).max() < 1e-6:
            break
    done = np.abs(step).max(axis=1) < 1e-3
    return np.where(done[:, None], beta, np.nan)


def roc(sample: Sample, *, points: int = 101) -> dict[str, list[float]]:
    """Sensitivity over 1 - specificity on a grid, with the band that holds 95 % of the resampled curves at each place."""
    grid = np.linspace(0, 1, points)
    curves = [
        _curve(sample, w, grid) for w in np.vstack([np.ones(len(sample.label)), resampled(sample.patient, resamples=400)])
    ]
    low, high = np.nanpercentile(np.array(curves[1:]), [2.5, 97.5], axis=0)
    return {
        "false_positive_rate": [round(float(v), 4) for v in grid],
        "sensitivity": [round(float(v), 4) for v in curves[0]],
        "low": [round(float(v), 4) for v in low],
        "high": [round(float(v), 4) for v in high],
    }


def _curve(sample: Sample, weights: Weights, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(-sample.score, kind="stable")
    last = np.r_[np.diff(sample.score[order]) < 0, True]
    hit = np.cumsum(weights[order] * sample.label[order])[last]
    alarm = np.cumsum(weights[order] * (1 - sample.label[order]))[last]
    if not hit[-1] or not alarm[-1]:
        return np.full(len(grid), np.nan)
    return np.interp(grid, np.r_[0, alarm / alarm[-1]], np.r_[0, hit / hit[-1]])


def delong(a: NDArray[np.float64], b: NDArray[np.float64], label: NDArray[np.int64]) -> dict[str, float]:
    """The paired test of two AUCs on the same cases (DeLong, Biometrics 1988): difference, 95 % interval, two-sided p."""
    sick = label == 1
    m, n = int(sick.sum()), int((~sick).sum())
    if min(m, n) < 2:
        return {"difference": float("nan"), "low": float("nan"), "high": float("nan"), "p": float("nan")}
    by_sick, by_well, areas = [], [], []
    for score in (a, b):
        wins = (score[sick][:, None] > score[~sick]) + 0.5 * (score[sick][:, None] == score[~sick])
        by_sick.append(wins.mean(axis=1))
        by_well.append(wins.mean(axis=0))
        areas.append(float(wins.mean()))
    covariance = np.cov(np.array(by_sick)) / m + np.cov(np.array(by_well)) / n
    difference = areas[1] - areas[0]
    error = float(np.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    p = float(2 * stats.norm.sf(abs(difference) / error)) if error > 0 else 1.0
    return {"difference": difference, "low": difference - 1.959964 * error, "high": difference + 1.959964 * error, "p": p}
