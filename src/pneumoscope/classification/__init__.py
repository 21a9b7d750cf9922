"""Volume and masks to a score for the study, or the reason why there is none."""

import math
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pneumoscope.models import Calibration
from pneumoscope.records import Category, Masks, Notice, Scores, Volume
from pneumoscope.segmentation.evidence import Sums, pattern

#: The score looks at the most involved stretch of lung of this height: what a reader would pick as the worst picture.
WINDOW_MM = 20.0

Value = TypeVar("Value", float, NDArray[np.float64])


def score_study(volume: Volume, masks: Masks, sums: Sums, *, calibration: Calibration, doubts: tuple[Notice, ...]) -> Scores:
    """Score the study by its most involved stretch; ``doubts`` are reasons to say nothing.

    ``sums``: what speaks for the pattern in each slice.
    """
    lung = np.count_nonzero(masks.lungs, axis=(1, 2)).astype(np.float64)
    lesion = np.count_nonzero(masks.lesions, axis=(1, 2)).astype(np.float64)
    shares, patterns = lesion / np.maximum(lung, 1), pattern(sums)
    evidence = np.array([slice_probability(s, e, calibration) for s, e in zip(shares, patterns, strict=True)]) * (lung > 0)
    if doubts:
        reason = " ".join(doubt.text for doubt in doubts)
        return Scores(probability=None, category=Category.CANNOT_SAY, reason=reason, slice_evidence=evidence)
    worst = worst_stretch(volume, lung=lung, lesion=lesion)
    value = probability(worst.share, float(pattern(sums.over(worst.overlap_mm))[0]), calibration)
    return Scores(probability=value, category=categorise(value, calibration), reason="", slice_evidence=evidence)


class Stretch(NamedTuple):
    """A part of the scan's height: the share of its lung that is lesion, 0 to 1, and (slice,) mm of each slice within it."""

    share: float
    overlap_mm: NDArray[np.float64]


def worst_stretch(volume: Volume, *, lung: NDArray[np.float64], lesion: NDArray[np.float64]) -> Stretch:
    """The ``WINDOW_MM`` of height whose lung is most involved; the whole scan where nothing is.

    ``lung``, ``lesion``: (slice,) areas. Slices count by their interval, so that thin slices weigh no more than thick ones; a
    window with less than a fifth of the mean lung area (apex, base) does not count.
    """
    weight = volume.intervals_mm
    enough = 0.2 * float((lung * weight).sum() / max((weight * (lung > 0)).sum(), 1e-6))
    best = Stretch(0.0, weight)
    for position_mm in volume.positions_mm:
        overlap = np.clip(
            np.minimum(volume.positions_mm + weight / 2, position_mm + WINDOW_MM / 2)
            - np.maximum(volume.positions_mm - weight / 2, position_mm - WINDOW_MM / 2),
            0,
            None,
        )
        area = float((lung * overlap).sum())
        if overlap.sum() > 0 and area / float(overlap.sum()) >= enough:
            share = float((lesion * overlap).sum()) / max(area, 1e-6)
            if share > best.share:
                best = Stretch(share, overlap)
    return best


def probability(share: float, pattern: float, calibration: Calibration) -> float:
    """Calibrated probability of pneumonia of the COVID-19 pattern for a study, from what its most involved stretch shows.

    ``share``: of the lung that is lesion, 0 to 1. ``pattern``: log odds of what it looks like.
    """
    extent = calibration.slope * math.log10(share + calibration.floor)
    value = _logistic(calibration.intercept + extent + calibration.pattern_slope * pattern)
    return drawn_in(value, calibration.surest)


def drawn_in(value: Value, surest: float) -> Value:
    """A probability, 0 to 1, drawn in to lie between 1 - ``surest`` and ``surest``."""
    return 1 - surest + (2 * surest - 1) * value


def slice_probability(share: float, pattern: float, calibration: Calibration) -> float:
    """The same for a slice of which no neighbours are known."""
    extent = calibration.slice_slope * math.log10(share + calibration.floor)
    return _logistic(calibration.slice_intercept + extent + calibration.slice_pattern_slope * pattern)


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


def categorise(value: float, calibration: Calibration) -> Category:
    """The category that a study's probability falls in."""
    return _category(value, calibration.no_sign_below, calibration.sign_from)


def categorise_slice(value: float, calibration: Calibration) -> Category:
    """The category that a single slice's probability falls in."""
    return _category(value, calibration.slice_no_sign_below, calibration.slice_sign_from)


def _category(value: float, no_sign_below: float, sign_from: float) -> Category:
    if value < no_sign_below:
        return Category.NO_SIGN
    return Category.SIGN if value >= sign_from else Category.INDETERMINATE
