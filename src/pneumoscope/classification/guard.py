"""Looks whether the volume is what the model was made for: refuses, doubts or warns, each by a stated rule."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pneumoscope.errors import NotAChest
from pneumoscope.records import Masks, Notice, Volume

CHILD_YEARS = 16
#: Lungs of less than this are not the subject of the scan: a head, an abdomen, a test object.
MIN_LUNG_ML, MIN_LUNG_HEIGHT_MM = 900.0, 110.0
MIN_CHILD_LUNG_ML, MIN_CHILD_LUNG_HEIGHT_MM = 150.0, 50.0
#: Beyond what lungs hold or how dense they are; the network has likely lost its way.
MAX_LUNG_ML = 10_000.0
LUNG_MEAN_HU = (-960.0, -350.0)
MAX_OUTSIDE_AIR_SHARE = 0.15
MIN_CONFIDENCE = 0.85
HEAVY_NOISE_HU = 90.0
MIN_NOISE_PAIRS = 300
METAL_HU, METAL_ML = 2800, 0.5
CUT_SHARE = 0.12
MOTION_SHARE = 0.08


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """``doubts`` forbid a score; ``warnings`` go beside it; ``noise_hu`` as ``noise_level_hu`` has it."""

    doubts: tuple[Notice, ...]
    warnings: tuple[Notice, ...]
    noise_hu: float


def age_years(PatientAge: str) -> float | None:
    """Years from an Age String (PS3.5 6.2: nnnD, nnnW, nnnM, nnnY), or None."""
    match = re.fullmatch(r"(\d{3})([DWMY])", PatientAge)
    if not match:
        return None
    return int(match.group(1)) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[match.group(2)]


def assess(volume: Volume, masks: Masks) -> Assessment:
    """Refuse what is no chest (NotAChest); else say what speaks against a score and what to keep in mind."""
    area_mm2 = np.count_nonzero(masks.lungs, axis=(1, 2)) * volume.PixelSpacing[0] * volume.PixelSpacing[1]
    _refuse_other_bodies(volume, area_mm2)
    doubts, warnings = list(_doubts(volume, masks)), []
    age = age_years(volume.study.PatientAge)
    if age is not None and age < CHILD_YEARS:
        text = f"The patient is {age:.0f} years old; the model was trained on adults."
        warnings.append(Notice(code="child", text=text))
    warnings += _incomplete(volume, masks, area_mm2)
    noise_hu = noise_level_hu(volume, masks)
    if noise_hu > HEAVY_NOISE_HU:
        text = f"Noise is {noise_hu:.0f} HU; above {HEAVY_NOISE_HU:.0f} HU faint lesions cannot be told from it."
        warnings.append(Notice(code="heavy-noise", text=text))
    if (jumps := _jump_share(volume, area_mm2)) > MOTION_SHARE:
        text = f"Lung outlines jump between {jumps:.0%} of neighbouring slices: heavy motion or doubled anatomy."
        warnings.append(Notice(code="motion", text=text))
    if (metal_ml := _metal_ml(volume, area_mm2)) > METAL_ML:
        text = f"Metal ({metal_ml:.1f} ml above {METAL_HU} HU) throws streaks that can look like lesions."
        warnings.append(Notice(code="metal", text=text))
    return Assessment(doubts=tuple(doubts), warnings=tuple(warnings), noise_hu=noise_hu)


def _refuse_other_bodies(volume: Volume, area_mm2: NDArray[np.float64]) -> None:
    lung_ml = float((area_mm2 * volume.intervals_mm).sum()) / 1000
    height_mm = float(volume.intervals_mm[area_mm2 > 100].sum())
    age = age_years(volume.study.PatientAge)
    child = age is not None and age < CHILD_YEARS
    least_ml, least_mm = (MIN_CHILD_LUNG_ML, MIN_CHILD_LUNG_HEIGHT_MM) if child else (MIN_LUNG_ML, MIN_LUNG_HEIGHT_MM)
    if lung_ml < least_ml or height_mm < least_mm:
        raise NotAChest(
            f"This is not a chest CT: {lung_ml:.0f} ml of lung over {height_mm:.0f} mm were found; "
            f"at least {least_ml:.0f} ml over {least_mm:.0f} mm are needed."
        )


def _doubts(volume: Volume, masks: Masks) -> list[Notice]:
    step = max(1, len(volume.hu) // 60)
    lungs = masks.lungs[::step] > 0
    inside = volume.hu[::step][lungs]
    lung_ml = float((np.count_nonzero(masks.lungs, axis=(1, 2)) * volume.voxel_ml).sum())
    doubts = []

    def doubt(text: str) -> None:
        doubts.append(Notice(code="out-of-distribution", text=text))

    if lung_ml > MAX_LUNG_ML:
        doubt(f"{lung_ml:.0f} ml of lung were found; lungs hold at most {MAX_LUNG_ML:.0f} ml.")
    mean_hu = float(inside.mean())
    if not LUNG_MEAN_HU[0] <= mean_hu <= LUNG_MEAN_HU[1]:
        doubt(f"The lungs' mean density is {mean_hu:.0f} HU; {LUNG_MEAN_HU[0]:.0f} to {LUNG_MEAN_HU[1]:.0f} HU is known.")
    if (outside := float((inside <= -1000).mean())) > MAX_OUTSIDE_AIR_SHARE:
        doubt(f"{outside:.0%} of what looks like lung is plain air; at most {MAX_OUTSIDE_AIR_SHARE:.0%} is known.")
    weight = np.count_nonzero(masks.lungs, axis=(1, 2))
    if (confidence := float((masks.confidence * weight).sum() / weight.sum())) < MIN_CONFIDENCE:
        doubt(
            f"The network is unsure ({confidence:.2f}; {MIN_CONFIDENCE} is needed): the images are unlike its training images."
        )
    return doubts


def _incomplete(volume: Volume, masks: Masks, area_mm2: NDArray[np.float64]) -> list[Notice]:
    cut = [name for name, k in (("bases", 0), ("apices", -1)) if area_mm2[k] > CUT_SHARE * area_mm2.max()]
    border = np.concatenate([masks.lungs[:, 0], masks.lungs[:, -1], masks.lungs[:, :, 0], masks.lungs[:, :, -1]], axis=1)
    if np.count_nonzero(border) * min(volume.PixelSpacing) > 200:  # 200 mm of outline on the picture's edge, over all slices
        cut.append("sides")
    if not cut:
        return []
    text = f"The lungs are not wholly in the scan (cut: {', '.join(cut)}); volumes and shares are of what is there."
    return [Notice(code="incomplete-lungs", text=text)]


def noise_level_hu(volume: Volume, masks: Masks) -> float:
    """Standard deviation of noise in soft tissue, from differences of neighbouring pixels, by the median over slices."""
    present = np.flatnonzero(masks.lungs.any(axis=(1, 2)))
    levels = []
    for k in present[:: max(1, len(present) // 12)]:
        hu = volume.hu[k].astype(np.float32)
        mean = ndimage.uniform_filter(hu, 7)  # of noisy pixels, only their neighbourhood tells what tissue they are
        soft = (mean > -50) & (mean < 120)
        pairs = hu[:, 2:] - hu[:, :-2]  # two pixels apart, where kernels correlate less
        both = soft[:, 2:] & soft[:, :-2]
        if np.count_nonzero(both) > MIN_NOISE_PAIRS:
            levels.append(1.4826 * float(np.median(np.abs(pairs[both]))) / np.sqrt(2))
    return float(np.median(levels)) if levels else 0.0


def _jump_share(volume: Volume, area_mm2: NDArray[np.float64]) -> float:
    """Share of slices whose lung area leaves the line between its neighbours by a tenth of the largest area."""
    if len(area_mm2) < 3 or float(np.median(volume.intervals_mm)) > 3.5:
        return 0.0
    bend = np.abs(area_mm2[1:-1] - (area_mm2[:-2] + area_mm2[2:]) / 2)
    inside = area_mm2[1:-1] > 0.2 * area_mm2.max()
    return float(np.mean(bend[inside] > 0.06 * area_mm2.max())) if inside.any() else 0.0


def _metal_ml(volume: Volume, area_mm2: NDArray[np.float64]) -> float:
    chest = np.flatnonzero(area_mm2 > 0)
    return float(sum(np.count_nonzero(volume.hu[k] > METAL_HU) * volume.voxel_ml[k] for k in chest))
