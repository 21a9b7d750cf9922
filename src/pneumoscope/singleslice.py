"""One slice saved as an ordinary 8-bit picture: to approximate HU, to the network's picture, to a score.

Such pictures are what teaching files, preprints and most labelled sets hold. They carry no HU and no size in mm, so the answer
is weaker than that of a study, and says so.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.classification import categorise_slice, slice_probability
from pneumoscope.errors import NotAChest, NothingReadable
from pneumoscope.intensity import MIN_CONTRAST_GREY, levels_from_image
from pneumoscope.models import Bundle
from pneumoscope.records import Category
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.segmentation.evidence import MIN_LUNG_SHARE, Sums, pattern, sum_up
from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, scale_hu
from pneumoscope.segmentation.network import Found
from pneumoscope.segmentation.outline import HALF

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
#: Every picture is first put on a square of this side, its longest side filling it.
STORED_SIZE_PX = 256
AIR_HU = -1000.0
MIN_SIDE_PX, MAX_PIXELS = 32, 64_000_000


@dataclass(frozen=True, kw_only=True)
class SliceReading:
    """``lesion_share``: mean probability of lesion over the lungs, 0 to 1; ``lung_share``: of the picture that is lung."""

    probability: float | None
    category: Category
    lesion_share: float
    lung_share: float


def is_picture(path: Path) -> bool:
    """Whether the name is one of an ordinary picture."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def read_picture(path: Path, bundle: Bundle, network: LungLesionNetwork) -> SliceReading:
    """Score one axial slice in a picture file. Raises NothingReadable where it is none, NotAChest where there is no lung.

    A picture of too little contrast gets no score.
    """
    grey = read_grey(path)
    hu = to_hu_square(grey)
    seen = judge(network(network_picture(hu)[None]))
    if seen.lung_share[0] < MIN_LUNG_SHARE:
        raise NotAChest(
            f"Lungs take {seen.lung_share[0]:.1%} of this picture; at least {MIN_LUNG_SHARE:.0%} is needed to say anything "
            "about them."
        )
    share = float(seen.lesion_share[0])
    levels = levels_from_image(grey)
    faint = levels.muscle_grey - levels.lung_grey <= MIN_CONTRAST_GREY
    value = None if faint else slice_probability(share, float(seen.pattern[0]), bundle.calibration)
    return SliceReading(
        probability=value,
        category=Category.CANNOT_SAY if value is None else categorise_slice(value, bundle.calibration),
        lesion_share=share,
        lung_share=float(seen.lung_share[0]),
    )


def read_grey(path: Path) -> NDArray[np.uint8]:
    """A picture file as 8-bit grey (row, column). Raises NothingReadable."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            if min(width, height) < MIN_SIDE_PX or width * height > MAX_PIXELS:
                raise NothingReadable(
                    f"The picture has {width} x {height} pixels; allowed are sides from {MIN_SIDE_PX} and at most "
                    f"{MAX_PIXELS // 1_000_000} million pixels.",
                    code="picture-size",
                )
            if image.mode.startswith(("I", "F")):
                raise NothingReadable(
                    "The picture has more than 8 bits a pixel and no rescale to HU; allowed are 8-bit pictures, or DICOM.",
                    code="picture-depth",
                )
            return np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as fault:
        raise NothingReadable("The file is no picture that can be read.", code="damaged-picture") from fault


def to_hu_square(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8-bit grey (row, column) of unknown window to approximate HU on the stored square."""
    return square(levels_from_image(grey).to_hu(grey), fill=AIR_HU, resample=Image.Resampling.BILINEAR)


def network_picture(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """A stored square of HU as the network sees it."""
    size = (NETWORK_SIZE_PX, NETWORK_SIZE_PX)
    return np.asarray(Image.fromarray(scale_hu(hu)).resize(size, Image.Resampling.BILINEAR))


class Judged(NamedTuple):
    """What the network saw in (n,) pictures.

    ``lesion_share``: mean probability of lesion over the lungs. ``lung_share``: of the picture that is lung. ``pattern``: log
    odds of what the lesions look like. ``sums``: what these are made of.
    """

    lesion_share: NDArray[np.float64]
    lung_share: NDArray[np.float64]
    pattern: NDArray[np.float64]
    sums: Sums


def judge(found: Found) -> Judged:
    """Each picture by itself."""
    lungs = found.probability.max(axis=1) >= HALF
    sums = sum_up(lungs, found.probability[:, 1], found.evidence)
    cells = found.evidence.shape[1] * found.evidence.shape[2]
    enough = sums._replace(lung=np.maximum(sums.lung, MIN_LUNG_SHARE * cells))
    return Judged(lesion_share=enough.lesion / enough.lung, lung_share=sums.lung / cells, pattern=pattern(enough), sums=enough)


def square(array: NDArray[np.float32], *, fill: float, resample: Image.Resampling) -> NDArray[np.float32]:
    """(row, column) of any size, centred on the stored square."""
    factor = STORED_SIZE_PX / max(array.shape)
    height, width = (max(1, round(side * factor)) for side in array.shape)
    scaled = np.asarray(Image.fromarray(array.astype(np.float32)).resize((width, height), resample))
    out = np.full((STORED_SIZE_PX, STORED_SIZE_PX), fill, dtype=np.float32)
    top, left = (STORED_SIZE_PX - height) // 2, (STORED_SIZE_PX - width) // 2
    out[top : top + height, left : left + width] = scaled
    return out
