"""The top of the diaphragm, which slice by slice looks like a round consolidation, is told from one by what lies below it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Denser than this is solid: liver, stomach's wall, spleen, the fat on them; below it is lung or half of it.
SOLID_HU = -250
AERATED_HU = -500
#: Smaller parts cannot be judged, and are dropped or harmless elsewhere; higher ones are no dome's top.
MIN_ML, MAX_HEIGHT_MM = 0.5, 35.0
#: A dome goes on as solid tissue outside the lungs for this far below its foot, over most of its footprint.
DEPTH_MM, MIN_FOOTED = 12.0, 0.7
#: On its sides it is lung that holds air; a consolidation at the base lies against the chest's wall or the diaphragm.
MIN_AERATED_SIDE = 0.55
#: A bulge of the diaphragm that is low, and solid below throughout, may lie against other solid tissue on its other side.
LOW_MM, LOW_FOOTED, LOW_AERATED_SIDE = 12.0, 0.95, 0.4
_RING_PX, _HALO_PX = 3, 3
#: 80 cm2 on the network's picture: what is larger is no island but the body around the lungs.
MAX_ISLAND_PX = 2000


def domes(
    lesion: NDArray[np.bool_],
    *,
    lungs: NDArray[np.bool_],
    hu: NDArray[np.int16],
    positions_mm: NDArray[np.float64],
    voxel_mm3: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which of the network's lesions are tops of the diaphragm.

    ``lesion``, ``lungs``, ``hu``: (slice, s, s) from feet to head. ``positions_mm``: (slice,) heights. ``voxel_mm3``: (slice,).
    Returns (slice, s, s): the dome and the blur around it, to be taken out of lungs and lesions.
    """
    out = np.zeros_like(lesion)
    labels, count = ndimage.label(lesion & (hu > SOLID_HU))

    def grown(index: int) -> NDArray[np.bool_] | None:
        """What a part is, in its slices, where it is a dome's top."""
        slices = boxes[index - 1][0]
        height_mm = positions_mm[slices.stop - 1] - positions_mm[slices.start]
        if height_mm > MAX_HEIGHT_MM:
            return None
        part = _islands(labels[slices] == index, hu=hu[slices])
        area = np.count_nonzero(part, axis=(1, 2))
        if float((area * voxel_mm3[slices]).sum()) / 1000 < MIN_ML:
            return None
        foot = int(np.flatnonzero(area >= 0.5 * area.max())[0])
        footed = _footed(part[foot], slices.start + foot, lungs=lungs, hu=hu, positions_mm=positions_mm)
        if footed < MIN_FOOTED:
            return None
        low = height_mm <= LOW_MM and footed >= LOW_FOOTED
        return part if _aerated_side(part, hu=hu[slices]) >= (LOW_AERATED_SIDE if low else MIN_AERATED_SIDE) else None

    boxes = ndimage.find_objects(labels)
    with ThreadPoolExecutor(2) as pool:
        for index, part in enumerate(pool.map(grown, range(1, count + 1))):
            if part is not None:
                out[boxes[index][0]] |= part
    if not out.any():
        return out
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), _HALO_PX)[None]
    blur = ndimage.binary_dilation(ndimage.binary_dilation(out, disc), np.ones((3, 1, 1), dtype=bool))
    return out | (blur & lesion)


def _islands(part: NDArray[np.bool_], *, hu: NDArray[np.int16]) -> NDArray[np.bool_]:
    """The part, in each slice grown to the whole solid island that it is on; the network may have seen only half of it."""
    grown = part.copy()
    for k in np.flatnonzero(part.any(axis=(1, 2))):
        island = ndimage.binary_propagation(part[k], mask=hu[k] > SOLID_HU)
        if np.count_nonzero(island) <= MAX_ISLAND_PX:
            grown[k] = island
    return grown


def _footed(
    foot: NDArray[np.bool_], k: int, *, lungs: NDArray[np.bool_], hu: NDArray[np.int16], positions_mm: NDArray[np.float64]
) -> float:
    """Of the foot, what part stands on solid tissue outside the lungs; the less of just below it and over all the depth."""
    below = np.flatnonzero((positions_mm < positions_mm[k]) & (positions_mm >= positions_mm[k] - DEPTH_MM))
    if not len(below):  # the scan ends here
        return 0.0
    solid = [(~lungs[j][foot] & (hu[j][foot] > SOLID_HU)).mean() for j in below]
    return min(float(solid[0]), float(np.mean(solid)))


def _aerated_side(part: NDArray[np.bool_], *, hu: NDArray[np.int16]) -> float:
    """Of what lies around the part within its slices, what share holds air."""
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), _RING_PX)[None]
    ring = ndimage.binary_dilation(part, disc) & ~ndimage.binary_dilation(part, disc[:, 1:-1, 1:-1])
    return float((hu[ring] < AERATED_HU).mean()) if ring.any() else 0.0
