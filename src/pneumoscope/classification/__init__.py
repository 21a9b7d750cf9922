"""Volume and masks to a score for the study, or the reason why there is none."""

import math

import numpy as np
from numpy.typing import NDArray

from pneumoscope.models import Calibration
from pneumoscope.records import Category, Masks, Notice, Scores, Volume

#: The score looks at the most involved stretch of lung of this height: what a reader would pick as the worst picture.
WINDOW_MM = 20.0


def score_study(volume: Volume, masks: Masks, *, calibration: Calibration, doubts: tuple[Notice, ...]) -> Scores:
    """Score the study by its most involved stretch; ``doubts`` are reasons to say nothing."""
    lung = np.count_nonzero(masks.lungs, axis=(1, 2)).astype(np.float64)
    lesion = np.count_nonzero(masks.lesions, axis=(1, 2)).astype(np.float64)
    evidence = np.asarray([slice_probability(s, calibration) for s in lesion / np.maximum(lung, 1)]) * (lung > 0)
    if doubts:
        reason = " ".join(doubt.text for doubt in doubts)
        return Scores(probability=None, category=Category.CANNOT_SAY, reason=reason, slice_evidence=evidence)
    value = probability(worst_share(volume, lung=lung, lesion=lesion), calibration)
    return Scores(probability=value, category=categorise(value, calibration), reason="", slice_evidence=evidence)


def worst_share(volume: Volume, *, lung: NDArray[np.float64], lesion: NDArray[np.float64]) -> float:
    """The largest share of lung that is lesion over any ``WINDOW_MM`` of height, 0 to 1.

    ``lung``, ``lesion``: (slice,) areas. Slices count by their interval, so that thin slices weigh no more than thick ones; a
    window with less than a fifth of the mean lung area (apex, base) does not count.
    """
    weight = volume.intervals_mm
    enough = 0.2 * float((lung * weight).sum() / max((weight * (lung > 0)).sum(), 1e-6))
    best = 0.0
    for position_mm in volume.positions_mm:
        overlap = np.clip(
            np.minimum(volume.positions_mm + weight / 2, position_mm + WINDOW_MM / 2)
            - np.maximum(volume.positions_mm - weight / 2, position_mm - WINDOW_MM / 2),
            0,
            None,
        )
        area = float((lung * overlap).sum())
        if overlap.sum() > 0 and area / float(overlap.sum()) >= enough:
            best = max(best, float((lesion * overlap).sum()) / max(area, 1e-6))
    return best


def probability(share: float, calibration: Calibration) -> float:
    """Calibrated probability of pneumonia of the COVID-19 pattern for a study, from the share of its most involved stretch."""
    return _logistic(calibration.intercept + calibration.slope * math.log10(share + calibration.floor))


def slice_probability(share: float, calibration: Calibration) -> float:
    """The same for a slice of which no neighbours are known, from its own share."""
    return _logistic(calibration.slice_intercept + calibration.slice_slope * math.log10(share + calibration.floor))


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def categorise(value: float, calibration: Calibration) -> Category:
    """The category that a probability falls in."""
    if value < calibration.no_sign_below:
        return Category.NO_SIGN
    return Category.SIGN if value >= calibration.sign_from else Category.INDETERMINATE
