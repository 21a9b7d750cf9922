"""Masks to measures: volumes, shares, zones, severity, the slices that matter."""

import numpy as np
from numpy.typing import NDArray

from pneumoscope.codes import severity
from pneumoscope.records import (
    CONSOLIDATION_LABEL,
    GROUND_GLASS_LABEL,
    ZONES,
    Finding,
    KeySlice,
    Lung,
    Masks,
    Region,
    Volume,
)

MAX_KEY_SLICES = 6
#: Key slices lie at least this far apart, so that they do not all show one lesion.
KEY_SLICE_DISTANCE_MM = 12.0


def measure(volume: Volume, masks: Masks) -> tuple[Finding, ...]:
    """Measures of every region, in the order of ``Region``."""
    counts = _count(volume, masks)
    slices = np.arange(len(volume.hu))
    chosen: dict[Region, list[tuple[Lung, NDArray[np.intp]]]] = {
        Region.RIGHT_LUNG: [(Lung.RIGHT, slices)],
        Region.LEFT_LUNG: [(Lung.LEFT, slices)],
        Region.LUNGS: [(Lung.RIGHT, slices), (Lung.LEFT, slices)],
    }
    for lung in Lung:
        thirds = zone_of_slice(volume, masks, lung)
        for third, name in enumerate(("lower", "middle", "upper")):
            chosen[Region(f"{lung.value}_{name}_zone")] = [(lung, np.flatnonzero(thirds == third))]
    return tuple(_finding(region, chosen[region], counts, volume.voxel_ml) for region in Region)


def zone_of_slice(volume: Volume, masks: Masks, lung: Lung) -> NDArray[np.int8]:
    """(slice,) 0 lower, 1 middle, 2 upper third of this lung's height, -1 beyond the lung."""
    present = np.flatnonzero((masks.lungs == lung.label).any(axis=(1, 2)))
    zones = np.full(len(volume.hu), -1, dtype=np.int8)
    if len(present):
        bottom, top = volume.positions_mm[present[0]], volume.positions_mm[present[-1]]
        height = (volume.positions_mm - bottom) / max(top - bottom, 1e-6)
        inside = (height >= 0) & (height <= 1)
        zones[inside] = np.minimum((height[inside] * 3).astype(np.int8), 2)
    return zones


def severity_points(findings: tuple[Finding, ...]) -> int:
    """The sum of the six zones' points, 0 to 24."""
    return sum(severity(finding.share)[0] for finding in findings if finding.region in ZONES)


def key_slices(volume: Volume, masks: Masks) -> tuple[KeySlice, ...]:
    """The slices with most lesion, most first; where there is none, three spread over the lungs for orientation."""
    pixel_mm2 = volume.PixelSpacing[0] * volume.PixelSpacing[1]
    lesion_mm2 = np.count_nonzero(masks.lesions, axis=(1, 2)) * pixel_mm2
    lung_mm2 = np.count_nonzero(masks.lungs, axis=(1, 2)) * pixel_mm2

    def key(k: int) -> KeySlice:
        return KeySlice(index=k, lesion_area_mm2=float(lesion_mm2[k]), share=float(lesion_mm2[k] / max(lung_mm2[k], 1.0)))

    chosen: list[int] = []
    for k in np.argsort(-lesion_mm2, kind="stable"):
        if lesion_mm2[k] <= 0 or len(chosen) == MAX_KEY_SLICES:
            break
        if all(abs(volume.positions_mm[k] - volume.positions_mm[j]) >= KEY_SLICE_DISTANCE_MM for j in chosen):
            chosen.append(int(k))
    if not chosen and lung_mm2.any():
        lung = np.flatnonzero(lung_mm2)
        chosen = [int(lung[int(len(lung) * part)]) for part in (0.25, 0.5, 0.75)]
    return tuple(key(k) for k in chosen)


def slice_share(masks: Masks) -> NDArray[np.float64]:
    """(slice,) part of the lung area that is lesion, 0 where there is no lung."""
    lung = np.count_nonzero(masks.lungs, axis=(1, 2))
    return np.count_nonzero(masks.lesions, axis=(1, 2)) / np.maximum(lung, 1)


def _count(volume: Volume, masks: Masks) -> dict[Lung, NDArray[np.float64]]:
    """Per lung (slice, 5): voxels of lung, ground-glass, consolidation; half a pixel of lesion outline; sum of HU."""
    out = {lung: np.zeros((len(volume.hu), 5)) for lung in Lung}
    for k in range(len(volume.hu)):
        for lung in Lung:
            inside = masks.lungs[k] == lung.label
            total = np.count_nonzero(inside)
            if not total:
                continue
            lesion = np.where(inside, masks.lesions[k], 0) if masks.lesions[k].any() else None
            out[lung][k] = (
                total,
                0 if lesion is None else np.count_nonzero(lesion == GROUND_GLASS_LABEL),
                0 if lesion is None else np.count_nonzero(lesion == CONSOLIDATION_LABEL),
                0 if lesion is None else _half_pixel_rim(lesion > 0),
                volume.hu[k][inside].sum(dtype=np.int64),
            )
    return out


def _half_pixel_rim(mask: NDArray[np.bool_]) -> float:
    """Area in pixels that a shift of the outline by half a pixel adds; pi/4 turns a staircase's length into a circle's."""
    edges = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    return 0.5 * edges * np.pi / 4


def _finding(
    region: Region,
    parts: list[tuple[Lung, NDArray[np.intp]]],
    counts: dict[Lung, NDArray[np.float64]],
    voxel_ml: NDArray[np.float64],
) -> Finding:
    total, glass, dense, rim, hu_sum = (
        sum(float((counts[lung][slices, column] * weight[slices]).sum()) for lung, slices in parts)
        for column, weight in zip(range(5), [voxel_ml] * 5, strict=True)
    )
    return Finding(
        region=region,
        volume_ml=total,
        ground_glass_ml=glass,
        consolidation_ml=dense,
        lesion_uncertainty_ml=rim,
        mean_hu=hu_sum / total if total else 0.0,
    )
