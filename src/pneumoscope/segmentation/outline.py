"""Draws outlines at the scan's own resolution.

The network says where a lung or a lesion is, on pixels of 2 mm; density says where exactly it ends. Within a band around the
network's outline a voxel belongs to the denser side when it lies above the level half-way between both tissues, which is where
the edge of a blurred object lies whatever the blur. Inside the band's inner edge the network is believed, so that vessels and
consolidation stay part of the lung.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pneumoscope.records import CONSOLIDATION_LABEL, GROUND_GLASS_LABEL
from pneumoscope.segmentation.grid import NETWORK_PIXEL_MM

HALF = 128  # probability 0.5 in 255ths
#: From this probability, in 255ths, a voxel that hangs together with a lesion may be part of it; density decides.
FAINT = 26
#: Hollows of a lesion up to twice this wide, in network pixels, may be part of it; density decides.
CLOSING_PX = 5
#: Half-way between aerated lung (about -850 HU) and soft tissue (about 40 HU).
LUNG_EDGE_HU = -400
#: Allowed levels for the edge of a lesion: half-way to faint ground-glass, half-way to consolidation.
LESION_EDGE_HU = (-720.0, -410.0)
#: From here a lesion counts as consolidation (Fleischner Society: vessels no longer visible; commonly -300 HU and denser).
CONSOLIDATION_HU = -300
#: A lesion may go on this far, in network pixels, through what is as dense as one and wider than vessels.
GROW_PX, VESSEL_PX = 8, 2
#: Half the width of vessels that are cut off where they leave a lesion, and of vessels and blurred edges within it.
VESSEL_MM, THIN_MM = 2.5, 1.5
#: Lesions smaller than this, in network voxels of 4 mm2 times the slice interval, are noise or
#: the crossing of vessels; a ball of 8 mm has 268.
MIN_LESION_MM3 = 250.0
#: What is as dense as a vessel and smaller than this is rather the crossing of large vessels than consolidation.
MIN_DENSE_LESION_MM3 = 1000.0
#: A lesion lower than this, or than two slices, is partial volume of diaphragm, heart or apex where it is also lower than this
#: share of its width, or where at least this share of it lies right above or below what is no lung.
FLAT_MM, FLAT_RATIO, COVERED_SHARE = 8.0, 0.4, 0.5
#: How far beyond the network's last slice a lesion may go on.
REACH_MM = 3.0
#: Lung level where no lesion-free lung is left to measure it.
DEFAULT_LUNG_HU = -850.0


class Bands(NamedTuple):
    """Where the network is sure, and how far it may be wrong; both (slice, s, s) on the network's picture."""

    core: NDArray[np.bool_]
    reach: NDArray[np.bool_]


def bands(mask: NDArray[np.bool_], *, inner: int, outer: int) -> Bands:
    """The mask shrunk by ``inner`` and grown by ``outer`` network pixels in-plane."""
    core, reach = mask, mask
    for _ in range(inner):
        core = _shrink(core)
    for _ in range(outer):
        reach = ~_shrink(~reach)
    return Bands(core, reach)


def support(
    probability: NDArray[np.uint8], seed: NDArray[np.bool_], *, lungs: NDArray[np.bool_], hu: NDArray[np.int16]
) -> NDArray[np.bool_]:
    """Where a lesion may lie, (slice, s, s): around a seed what is faintly believed, its hollows, and what is as dense.

    ``probability``: of lesion, in 255ths. ``seed``: where it is believed.
    """
    labels, count = ndimage.label((probability >= FAINT) & lungs)
    seeded = np.zeros(count + 1, dtype=np.bool_)
    seeded[labels[seed]] = True
    seeded[0] = False
    found: NDArray[np.bool_] = seeded[labels]

    def widen(k: int) -> None:
        far = ndimage.distance_transform_edt(~found[k]) > CLOSING_PX
        found[k] = ndimage.distance_transform_edt(~far) > CLOSING_PX
        level = ndimage.uniform_filter(hu[k].astype(np.float32), 3)
        hazy = (level > LESION_EDGE_HU[0]) & (level < CONSOLIDATION_HU) & lungs[k]
        wide = opened(hazy, VESSEL_PX)
        if wide.any():
            found[k] = ndimage.binary_dilation(found[k], mask=found[k] | wide, iterations=GROW_PX)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(widen, np.flatnonzero(found.any(axis=(1, 2)))))
    return found & lungs


def reach_along(lesion: NDArray[np.bool_], positions_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Lesions grown to slices up to ``REACH_MM`` above and below, to the next slice at least: their caps are faint."""
    grown = lesion.copy()
    for k, position in enumerate(positions_mm):
        near = np.abs(positions_mm - position) <= REACH_MM
        near[max(0, k - 1) : k + 2] = True
        if lesion[k].any():
            grown[near] |= lesion[k]
    return grown


def _shrink(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Erode in-plane by a cross of one pixel; plain shifts are several times faster than a general morphology."""
    out = mask.copy()
    out[:, 1:] &= mask[:, :-1]
    out[:, :-1] &= mask[:, 1:]
    out[:, :, 1:] &= mask[:, :, :-1]
    out[:, :, :-1] &= mask[:, :, 1:]
    return out


def opened(mask: NDArray[np.bool_], times: int) -> NDArray[np.bool_]:
    """One slice (row, column) without what is not twice as wide; beyond its edge there is nothing."""
    eroded = np.pad(mask, 1)
    for _ in range(times):
        eroded = np.pad(_shrink(eroded[None])[0, 1:-1, 1:-1], 1)
    return dilated(eroded[1:-1, 1:-1], times)


def dilated(mask: NDArray[np.bool_], times: int) -> NDArray[np.bool_]:
    """One slice (row, column) grown by crosses of one pixel."""
    out = mask
    for _ in range(times):
        out = ~_shrink(~out[None])[0]
    return out


def lung_outline(hu: NDArray[np.int16], *, core: NDArray[np.bool_], reach: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Lung in one slice (row, column): the core, and what is aerated within reach; holes are vessels and are filled."""
    lung = core | (reach & (hu < LUNG_EDGE_HU))
    return ~open_air(lung) & reach | core


def open_air(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is not of the mask and hangs together with the picture's edge; labels find it far quicker than a flood does."""
    labels, count = ndimage.label(~mask)
    open_ = np.zeros(count + 1, dtype=np.bool_)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        open_[edge] = True
    open_[0] = False
    found: NDArray[np.bool_] = open_[labels]
    return found


def lesion_outline(
    smooth_hu: NDArray[np.float32],
    *,
    core: NDArray[np.bool_],
    believed: NDArray[np.bool_],
    edge_hu: NDArray[np.float32],
    vessel_px: int,
) -> NDArray[np.bool_]:
    """Lesion in one slice (row, column): the core, and what is denser than the local edge level and no vessel running in.

    ``believed``: where the network sees the lesion. ``edge_hu``: the level per voxel, infinite beyond reach. ``vessel_px``:
    what is not twice as wide, and not believed, is a vessel.
    """
    dense = core | (smooth_hu > edge_hu)
    return (dense & believed) | opened(dense, vessel_px)


def classify_density(smooth_hu: NDArray[np.float32], lesion: NDArray[np.bool_], *, thin_px: int) -> NDArray[np.uint8]:
    """Ground-glass or consolidation for each lesion voxel of one slice, by density.

    What is dense but thinner than twice ``thin_px`` is a vessel seen through ground-glass; what is hazy but as thin, beside
    consolidation, is its blurred edge.
    """
    dense = opened(lesion & (smooth_hu >= CONSOLIDATION_HU), thin_px)
    hazy = lesion & ~dense
    edge = hazy & ~opened(hazy, thin_px)
    dense |= edge & dilated(dense, thin_px)
    labelled: NDArray[np.uint8] = np.where(dense, CONSOLIDATION_LABEL, np.where(lesion, GROUND_GLASS_LABEL, 0)).astype(np.uint8)
    return labelled


def _partial_volume(
    lesion: NDArray[np.bool_], own: NDArray[np.int32], *, lungs: NDArray[np.bool_], count: int, voxel_mm3: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(count,) whether a lesion is a thin sheet: what a slice through the dome of the diaphragm or past the apex looks like.

    ``own``: the number of each lesion voxel, in the order of the array.
    """
    depth = len(lesion)
    k, row, column = np.nonzero(lesion)
    voxels = np.bincount(own.astype(np.int64) * depth + k, minlength=(count + 1) * depth).reshape(count + 1, depth)[1:]
    interval_mm = voxel_mm3 / NETWORK_PIXEL_MM**2
    height_mm = ((voxels > 0) * interval_mm).sum(axis=1)
    diameter_mm = 2 * np.sqrt(voxels.max(axis=1) * NETWORK_PIXEL_MM**2 / np.pi)
    below, above = (lungs[np.clip(k + step, 0, depth - 1), row, column] for step in (-1, 1))
    covered = np.bincount(own, weights=~(below & above), minlength=count + 1)[1:] / np.maximum(voxels.sum(axis=1), 1)
    low = height_mm <= max(FLAT_MM, 2 * float(np.median(interval_mm)))
    sheet: NDArray[np.bool_] = low & ((height_mm < FLAT_RATIO * diameter_mm) | (covered >= COVERED_SHARE))
    return sheet


class LesionLevels(NamedTuple):
    """Lesions on the network's picture: their numbers, 0 where none, and the edge level of each number."""

    labels: NDArray[np.int32]
    edge_hu: NDArray[np.float32]


def lesion_levels(
    lesion: NDArray[np.bool_],
    *,
    core: NDArray[np.bool_],
    reach: NDArray[np.bool_],
    lungs: NDArray[np.bool_],
    hu: NDArray[np.int16],
    voxel_mm3: NDArray[np.float64],
) -> LesionLevels:
    """Number the lesions and find the level half-way between each and the lung around it.

    All arrays (slice, s, s) on the network's picture, ``voxel_mm3`` (slice,). Lesions below ``MIN_LESION_MM3`` are dropped,
    dense ones below ``MIN_DENSE_LESION_MM3``.
    """
    healthy = hu[lungs & ~reach]
    lung_hu = float(np.median(healthy)) if healthy.size > 1000 else DEFAULT_LUNG_HU
    labels, count = ndimage.label(reach)
    if not count:
        return LesionLevels(labels, np.full(1, np.inf, dtype=np.float32))
    own = labels[lesion]  # few voxels: far quicker than to look through the whole volume
    weight = np.repeat(voxel_mm3, np.count_nonzero(lesion, axis=(1, 2)))
    size_mm3 = np.bincount(own, weights=weight, minlength=count + 1)[1:]
    numbers = np.arange(1, count + 1)
    level = np.full(count, np.nan)
    for part in (lesion, core):  # rather without the rim, whose voxels hold lung too
        if part.any():
            found = ndimage.median(hu[part], labels[part], numbers)
            level = np.where(np.isnan(found), level, found)
    level = np.nan_to_num(level, nan=DEFAULT_LUNG_HU)
    edge = np.clip((level + min(lung_hu, -600.0)) / 2, *LESION_EDGE_HU)
    smallest_mm3 = np.where(level < CONSOLIDATION_HU, MIN_LESION_MM3, MIN_DENSE_LESION_MM3)
    edge[(size_mm3 < smallest_mm3) | _partial_volume(lesion, own, lungs=lungs, count=count, voxel_mm3=voxel_mm3)] = np.inf
    return LesionLevels(labels, np.concatenate([[np.inf], edge]).astype(np.float32))
