"""Brings 8-bit slices of unknown window to approximate HU.

Published slices carry no rescale: whoever made the picture chose the window. Two tissues are in every chest slice, aerated
lung and muscle, so a line through their grey levels gives a scale that is right where it matters for a lung reader.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LUNG_HU = -850.0
MUSCLE_HU = 40.0
#: Fewer grey levels between lung and muscle than this and the picture holds too little contrast to be scaled.
MIN_CONTRAST_GREY = 25.0


class TissueLevels(NamedTuple):
    """Grey levels of aerated lung and of muscle in one 8-bit slice."""

    lung_grey: float
    muscle_grey: float

    def to_hu(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map grey levels (row, column) to approximate HU by the line through both tissues."""
        slope = (MUSCLE_HU - LUNG_HU) / max(self.muscle_grey - self.lung_grey, MIN_CONTRAST_GREY)
        return ((grey.astype(np.float32) - self.lung_grey) * slope + LUNG_HU).astype(np.float32)


def levels_from_masks(grey: NDArray[np.uint8], *, lungs: NDArray[np.bool_], lesions: NDArray[np.bool_]) -> TissueLevels:
    """Levels of a slice (row, column) whose lungs and lesions are known."""
    aerated = grey[lungs & ~lesions] if (lungs & ~lesions).sum() > 50 else grey[lungs]
    lung_grey = float(np.percentile(aerated, 40))
    around = ndimage.binary_dilation(lungs, iterations=14) & ~ndimage.binary_dilation(lungs, iterations=2)
    return TissueLevels(lung_grey, float(np.median(grey[around])) if around.any() else lung_grey + MIN_CONTRAST_GREY)


def levels_from_image(grey: NDArray[np.uint8]) -> TissueLevels:
    """Levels of a slice (row, column) of which nothing is known, by Otsu's threshold and the dark parts inside the body."""
    threshold = otsu(grey)
    body = ndimage.binary_fill_holes(ndimage.binary_opening(grey > threshold, iterations=2))
    inside = ndimage.binary_erosion(body, iterations=3) & (grey <= threshold)
    if inside.sum() < 0.02 * grey.size:  # a picture cropped to the lungs: the dark class is the lungs
        inside = grey <= threshold
    lung_grey = float(np.median(grey[inside])) if inside.any() else float(grey.min())
    return TissueLevels(lung_grey, _bright_mode(grey[grey > threshold], above=lung_grey))


def otsu(grey: NDArray[np.uint8]) -> int:
    """Otsu's threshold of an 8-bit picture (Otsu, IEEE Trans SMC 1979)."""
    histogram = np.bincount(grey.ravel(), minlength=256).astype(float)
    weight = np.cumsum(histogram)
    mean = np.cumsum(histogram * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * weight / weight[-1] - mean) ** 2 / (weight * (weight[-1] - weight))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1)))


def _bright_mode(values: NDArray[np.uint8], *, above: float) -> float:
    histogram = np.bincount(values.ravel(), minlength=256).astype(float)
    histogram[: int(above + MIN_CONTRAST_GREY)] = 0
    if not histogram.any():
        return above + MIN_CONTRAST_GREY
    return float(np.argmax(ndimage.gaussian_filter1d(histogram, 4)))


def aerated_lungs(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Lungs of a slice (row, column) of approximate HU without consolidation: dark parts inside the body, vessels filled in."""
    tissue = hu > (LUNG_HU + MUSCLE_HU) / 2
    body_labels, count = ndimage.label(ndimage.binary_opening(tissue, iterations=2))
    if not count:
        return np.zeros(hu.shape, dtype=bool)
    body = body_labels == 1 + int(np.argmax(np.bincount(body_labels.ravel())[1:]))
    inside = ndimage.binary_fill_holes(body) & ~tissue
    labels, count = ndimage.label(ndimage.binary_opening(inside))
    sizes = np.bincount(labels.ravel())
    large = sizes >= 0.01 * hu.size  # the trachea and bowel gas are smaller
    large[0] = False
    closed: NDArray[np.bool_] = ndimage.binary_fill_holes(ndimage.binary_closing(large[labels], iterations=2))
    return closed
