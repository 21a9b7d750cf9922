"""The top of the diaphragm, which slice by slice looks like a round consolidation, is told from one by what lies below it."""

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
_RING_PX, _HALO_PX = 3, 3


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
    for index, box in enumerate(ndimage.find_objects(labels), start=1) if count else ():
        part = labels[box[0]] == index
        area = np.count_nonzero(part, axis=(1, 2))
        first = box[0].start
        if float((area * voxel_mm3[box[0]]).sum()) / 1000 < MIN_ML:
            continue
        if positions_mm[box[0].stop - 1] - positions_mm[first] > MAX_HEIGHT_MM:
            continue
        foot = int(np.flatnonzero(area >= 0.5 * area.max())[0])
        if _footed(part[foot], first + foot, lungs=lungs, hu=hu, positions_mm=positions_mm) and _free(part, hu=hu[box[0]]):
            out[box[0]] |= part
    if not out.any():
        return out
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), _HALO_PX)[None]
    blur = ndimage.binary_dilation(ndimage.binary_dilation(out, disc), np.ones((3, 1, 1), dtype=bool))
    return out | (blur & lesion)


def _footed(
    foot: NDArray[np.bool_], k: int, *, lungs: NDArray[np.bool_], hu: NDArray[np.int16], positions_mm: NDArray[np.float64]
) -> bool:
    below = np.flatnonzero((positions_mm < positions_mm[k]) & (positions_mm >= positions_mm[k] - DEPTH_MM))
    if not len(below):  # the scan ends here
        return False
    solid = [(~lungs[j][foot] & (hu[j][foot] > SOLID_HU)).mean() for j in below]
    return float(solid[0]) >= MIN_FOOTED and float(np.mean(solid)) >= MIN_FOOTED


def _free(part: NDArray[np.bool_], *, hu: NDArray[np.int16]) -> bool:
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), _RING_PX)[None]
    ring = ndimage.binary_dilation(part, disc) & ~ndimage.binary_dilation(part, disc[:, 1:-1, 1:-1])
    return bool(ring.any()) and float((hu[ring] < AERATED_HU).mean()) >= MIN_AERATED_SIDE
