"""What lesions look like: the network's evidence, averaged over them; the second explanation of a score, beside the masks."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: A slice whose lungs take less than this share of its picture counts as if they took so much.
MIN_LUNG_SHARE = 0.02
#: Where lesions take much less than this share of the lungs, what speaks from them fades.
LEAST_LESION = 0.01


class Sums(NamedTuple):
    """For each slice, (slice,): area of lung, of lesion in cells; evidence summed over lesions, in log odds times cells."""

    lung: NDArray[np.float64]
    lesion: NDArray[np.float64]
    evidence: NDArray[np.float64]

    def over(self, weight: NDArray[np.float64]) -> "Sums":
        """One stretch of slices, each counted by its weight."""
        return Sums(*(np.atleast_1d((part * weight).sum()) for part in self))

    @property
    def spread(self) -> NDArray[np.float64]:
        """(n,) cells that the evidence is spread over; never less than a little of the lungs."""
        return np.maximum(self.lesion + LEAST_LESION * self.lung, 1e-6)


def sum_up(lungs: NDArray[np.bool_], lesion: NDArray[np.uint8], maps: NDArray[np.float32]) -> Sums:
    """(n, s, s) lungs, (n, s, s) probability of lesion in 255ths and (n, c, c) maps of evidence to their sums."""
    side = maps.shape[1]
    shape = (len(lungs), side, lungs.shape[1] // side, side, lungs.shape[1] // side)
    lung_cells = lungs.reshape(shape).mean(axis=(2, 4), dtype=np.float64)
    lesion_cells = np.where(lungs, lesion, 0).reshape(shape).mean(axis=(2, 4), dtype=np.float64) / 255
    return Sums(
        lung=lung_cells.sum(axis=(1, 2)),
        lesion=lesion_cells.sum(axis=(1, 2)),
        evidence=(lesion_cells * maps).sum(axis=(1, 2)),
    )


def densities(maps: NDArray[np.float32], sums: Sums) -> NDArray[np.float32]:
    """(n, c, c) maps of evidence to what each cell of lesion adds to the pattern of its slice."""
    return (maps / sums.spread[:, None, None]).astype(np.float32)


def pattern(sums: Sums) -> NDArray[np.float64]:
    """(n,) log odds of what the lesions look like, apart from how much of the lungs they take."""
    return sums.evidence / sums.spread
