"""Volume to masks: lungs, left and right, and lesions."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pneumoscope.records import Masks, Volume
from pneumoscope.segmentation.dome import domes
from pneumoscope.segmentation.evidence import Sums, sum_up
from pneumoscope.segmentation.grid import NETWORK_PIXEL_MM, NETWORK_SIZE_PX, WINDOW_HU, NetworkGrid
from pneumoscope.segmentation.network import LungLesionNetwork, look
from pneumoscope.segmentation.outline import (
    HALF,
    LESION_EDGE_HU,
    THIN_MM,
    VESSEL_MM,
    bands,
    classify_density,
    lesion_levels,
    lesion_outline,
    lung_outline,
    reach_along,
    support,
)
from pneumoscope.segmentation.sides import split_sides

__all__ = ["LungLesionNetwork", "Segmented", "segment"]

#: A lung-like part smaller than this, alone or against the largest, is bowel gas, a fold or noise.
MIN_LUNG_ML = 20.0
MIN_LUNG_SHARE = 0.04


@dataclass(frozen=True, kw_only=True)
class Segmented:
    """``sums``: what speaks for the pattern in each slice. ``maps``: (slice, c, c), where; on the network's grid."""

    masks: Masks
    sums: Sums
    maps: NDArray[np.float32]


def segment(
    volume: Volume,
    network: LungLesionNetwork,
    *,
    lesion_threshold: float = 0.5,
    progress: Callable[[int, int], None] | None = None,
) -> Segmented:
    """Find lungs and lesions. ``lesion_threshold``: probability from which the network's lesion is believed."""
    grid = NetworkGrid.of(volume)
    found, maps = look(volume, network, grid, progress=progress)
    voxel_mm3 = volume.intervals_mm * NETWORK_PIXEL_MM**2
    lungs = _large_parts(found[:, 0] >= HALF, voxel_mm3)
    lesion = (found[:, 1] >= round(lesion_threshold * 255)) & lungs
    coarse_hu = _coarse_hu(volume, grid)
    dome = domes(lesion, lungs=lungs, hu=coarse_hu, positions_mm=volume.positions_mm, voxel_mm3=voxel_mm3)
    if dome.any():
        found[np.broadcast_to(dome[:, None], found.shape)] = 0
        lungs, lesion = lungs & ~dome, lesion & ~dome
    sides = split_sides(lungs)
    confidence = _confidence(found[:, 1], lungs)
    lung_band = bands(lungs, inner=1, outer=2)
    around = support(found[:, 1], lesion, lungs=lungs, hu=coarse_hu)
    lesion_band = bands(lesion, inner=1, outer=2)
    reach = bands(around, inner=0, outer=2).reach | (reach_along(lesion, volume.positions_mm) & lungs)
    lesion_band = lesion_band._replace(reach=reach)
    levels = lesion_levels(
        lesion, core=lesion_band.core, reach=lesion_band.reach, lungs=lungs, hu=coarse_hu, voxel_mm3=voxel_mm3
    )
    side_anywhere = _spread_sides(sides)
    lung_masks = np.zeros(volume.hu.shape, dtype=np.uint8)
    lesion_masks = np.zeros(volume.hu.shape, dtype=np.uint8)

    vessel_px, thin_px = (max(1, round(mm / min(volume.PixelSpacing))) for mm in (VESSEL_MM, THIN_MM))

    def draw(k: int) -> None:
        if not lung_band.reach[k].any():
            return

        part = _box(grid.to_slice(lung_band.reach[k].astype(np.uint8), smooth=False))

        def fine(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
            return grid.to_slice(mask.astype(np.uint8) * 255, smooth=True, part=part) >= HALF

        hu = grid.view.apply(volume.hu[k])[part]
        dense = fine(lesion_band.core[k])
        core = fine(lung_band.core[k]) | (dense & fine(lungs[k]))
        lung = lung_outline(hu, core=core, reach=fine(lung_band.reach[k]))
        side = grid.to_slice(side_anywhere[k], smooth=False)[part]
        grid.view.apply(lung_masks[k])[part] = np.where(lung, side, 0)
        if not lesion_band.reach[k].any():
            return
        smooth_hu = ndimage.uniform_filter(hu.astype(np.float32), 3)
        # int32 labels do not survive an 8-bit resize: the level does, one step being 2 HU
        edge = levels.edge_hu[levels.labels[k]]
        lowest_hu = LESION_EDGE_HU[0]
        coded = np.where(np.isfinite(edge), np.rint((edge - lowest_hu) / 2), 255).astype(np.uint8)
        coded_fine = grid.to_slice(coded, smooth=False)[part].astype(np.float32)
        edge_fine = np.where(coded_fine < 255, coded_fine * 2 + lowest_hu, np.inf).astype(np.float32)
        kept = edge_fine < np.inf
        reach = fine(lesion_band.reach[k])
        edge_fine[~reach] = np.inf
        believed = fine(lesion[k])
        outlined = (
            lesion_outline(smooth_hu, core=dense & kept, believed=believed, edge_hu=edge_fine, vessel_px=vessel_px) & lung
        )
        grid.view.apply(lesion_masks[k])[part] = classify_density(smooth_hu, outlined, thin_px=thin_px)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(draw, range(len(volume.hu))))
    for mask in (lung_masks, lesion_masks):
        mask.flags.writeable = False
    return Segmented(
        masks=Masks(lungs=lung_masks, lesions=lesion_masks, confidence=confidence),
        sums=sum_up(lungs, found[:, 1], maps),
        maps=maps,
    )


def _large_parts(mask: NDArray[np.bool_], voxel_mm3: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The mask without connected parts below ``MIN_LUNG_ML`` or ``MIN_LUNG_SHARE`` of the largest."""
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    size_mm3 = sum(
        np.bincount(labels[k].ravel(), minlength=count + 1) * voxel_mm3[k] for k in range(len(mask)) if mask[k].any()
    )
    sizes = np.asarray(size_mm3)
    sizes[0] = 0
    large = sizes >= max(MIN_LUNG_ML * 1000, MIN_LUNG_SHARE * sizes.max())
    kept: NDArray[np.bool_] = large[labels]
    return kept


def _coarse_hu(volume: Volume, grid: NetworkGrid) -> NDArray[np.int16]:
    """(slice, s, s) HU on the network's picture, for levels; clipped to the network's window."""
    low, high = WINDOW_HU
    out = np.empty((len(volume.hu), NETWORK_SIZE_PX, NETWORK_SIZE_PX), dtype=np.int16)
    with ThreadPoolExecutor(2) as pool:
        for k, picture in enumerate(pool.map(grid.picture, volume.hu)):
            out[k] = picture * (high - low) + low
    return out


def _confidence(lesion: NDArray[np.uint8], lungs: NDArray[np.bool_]) -> NDArray[np.float64]:
    distance = np.abs(lesion.astype(np.int16) * 2 - 255)
    inside = lungs.sum(axis=(1, 2))
    return np.where(inside > 0, (distance * lungs).sum(axis=(1, 2)) / np.maximum(inside, 1) / 255, 1.0)


def _spread_sides(sides: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sides grown a few pixels beyond the lungs, so that an outline drawn outwards still has one."""
    grown = sides.copy()
    for _ in range(3):
        for axis, step in ((1, 1), (1, -1), (2, 1), (2, -1)):
            np.copyto(grown, np.roll(grown, step, axis=axis), where=grown == 0)
    return grown


def _box(mask: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns that hold the mask, two pixels wider within the slice."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(0, int(rows[0]) - 2), max(0, int(columns[0]) - 2)
    return slice(top, min(mask.shape[0], int(rows[-1]) + 3)), slice(left, min(mask.shape[1], int(columns[-1]) + 3))
