"""The lungs from the front, with all lesions projected."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pneumoscope.records import Reading
from pneumoscope.results.pictures.drawing import (
    HEAT,
    LUNG_RGB,
    TEXT_RGB,
    Rgb,
    heat,
    letter_px,
    outline,
    resized,
    scale_bar,
    tint,
    window,
    write,
)
from pneumoscope.results.pictures.slices import axial_view, chest_box

#: A mean over the lungs' whole depth has less contrast than a slice.
PROJECTION_WINDOW_HU = (-740.0, 520.0)
SLAB_MM = 24.0
#: The chest around the lungs is for orientation only.
SURROUNDINGS_BRIGHTNESS = 0.45
#: Rays through less lung than this fade into the surroundings: what they meet is mostly the lung's edge.
RIM_MM = 15.0
#: Depth at which the colour covers the grey as much as it may.
FULL_STRENGTH_MM, FULL_STRENGTH = 12.0, 0.82
#: An interval this many times the usual one is shown as a gap.
GAP_FACTOR = 2.5
GAP_GREY = 24

Projection = NDArray[np.float32]  # (slice, column), rays from front to back


class Projections(NamedTuple):
    """What each ray from front to back meets."""

    lung_hu: Projection  # mean of the lungs
    lung_mm: Projection
    lesion_mm: Projection
    slab_hu: Projection  # mean of a slab in the middle of the chest


def coronal(
    reading: Reading,
    projections: Projections | None = None,
    *,
    overlay: bool = True,
    width_px: int = 560,
    lettered: bool = True,
) -> Rgb:
    """(row, column, 3), head up, the patient's right on the left: mean density of the lungs, depth of lesion as colour.

    ``projections``: those of the reading, where they were made before.
    """
    _, (_, columns_mm) = axial_view(reading)
    _, columns = chest_box(reading)
    mm_px = (columns.stop - columns.start) * columns_mm / width_px
    projections = projections or project(reading)
    upright = _Upright(reading, mm_px, width_px)
    inside = window(upright.stretch(projections.lung_hu), PROJECTION_WINDOW_HU)
    around = window(upright.stretch(projections.slab_hu)) * SURROUNDINGS_BRIGHTNESS
    lung_part = np.clip(upright.stretch(projections.lung_mm) / RIM_MM, 0, 1)
    grey = inside * lung_part + around * (1 - lung_part)
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if overlay:
        depth_mm = upright.stretch(projections.lesion_mm)
        strength = FULL_STRENGTH * np.clip(depth_mm / FULL_STRENGTH_MM, 0, 1)[..., None]
        picture = (picture * (1 - strength) + heat(depth_mm) * strength).astype(np.uint8)
        lungs = resized(upright.rows(projections.lung_mm) > 2, upright.size)
        tint(picture, outline(lungs), LUNG_RGB, 0.5)
    picture[upright.gaps] = GAP_GREY
    return _lettered(picture, reading, upright, overlay=overlay) if lettered else picture


def project(reading: Reading) -> Projections:
    """What the coronal view shows, of any size. One slice at a time, so that no copy of the volume is made."""
    view, (rows_mm, _) = axial_view(reading)
    rows, columns = chest_box(reading)
    middle, half = (rows.start + rows.stop) // 2, max(1, round(SLAB_MM / 2 / rows_mm))
    shape = (len(reading.volume.hu), columns.stop - columns.start)
    out = Projections(*(np.zeros(shape, dtype=np.float32) for _ in range(4)))
    for k, stored in enumerate(reading.volume.hu):
        hu = view.apply(stored)[:, columns]
        lungs = view.apply(reading.masks.lungs[k])[rows, columns] > 0
        voxels = np.count_nonzero(lungs, axis=0)
        out.slab_hu[k] = hu[middle - half : middle + half : 2].mean(axis=0)
        out.lung_mm[k] = voxels * rows_mm
        total = np.einsum("rc,rc->c", hu[rows].astype(np.float32), lungs.astype(np.float32))
        out.lung_hu[k] = np.where(voxels > 0, total / np.maximum(voxels, 1), out.slab_hu[k])
        out.lesion_mm[k] = np.count_nonzero(view.apply(reading.masks.lesions[k])[rows, columns], axis=0) * rows_mm
    return out


class _Upright:
    """Turns (slice, column), feet first, into a picture of true proportions, head up, each slice at its own position."""

    def __init__(self, reading: Reading, mm_px: float, width_px: int) -> None:
        positions, intervals = reading.volume.positions_mm, reading.volume.intervals_mm
        self.mm_px = mm_px
        self.top_mm = float(positions[-1] + intervals[-1] / 2)
        self.bottom_mm = float(positions[0] - intervals[0] / 2)
        height_px = max(1, round((self.top_mm - self.bottom_mm) / mm_px))
        self.size = (width_px, height_px)
        heights = self.top_mm - (np.arange(height_px) + 0.5) * mm_px
        self._lower = np.clip(np.searchsorted(positions, heights) - 1, 0, max(len(positions) - 2, 0))
        self._upper = np.minimum(self._lower + 1, len(positions) - 1)
        step_mm = np.maximum(positions[self._upper] - positions[self._lower], 1e-6)
        self._part = np.clip((heights - positions[self._lower]) / step_mm, 0, 1).astype(np.float32)[:, None]
        usual_mm = float(np.median(intervals))
        from_slice_mm = np.minimum(self._part[:, 0], 1 - self._part[:, 0]) * step_mm
        #: (row,) rows of the picture that no slice stands for
        self.gaps = (step_mm > GAP_FACTOR * usual_mm) & (from_slice_mm > usual_mm / 2)

    def rows(self, values: Projection) -> Projection:
        """(slice, column) to (row of the picture, column)."""
        return values[self._lower] * (1 - self._part) + values[self._upper] * self._part

    def stretch(self, values: Projection) -> Projection:
        """(slice, column) to (row, column) of the picture."""
        image = Image.fromarray(self.rows(values).astype(np.float32))
        return np.asarray(image.resize(self.size, Image.Resampling.BICUBIC))

    def row_px(self, position_mm: float) -> float:
        """Where in the picture a position lies."""
        return (self.top_mm - position_mm) / self.mm_px


def _lettered(picture: Rgb, reading: Reading, upright: _Upright, *, overlay: bool) -> Rgb:
    """The picture with its letters, and under it a band with scale bar and legend."""
    height, width, _ = picture.shape
    letters = letter_px(width)
    image = Image.new("RGB", (width, height + band_px(width)))
    image.paste(Image.fromarray(picture))
    draw = ImageDraw.Draw(image)
    aside = letters * 3  # clear of the numbers of the key slices
    write(draw, (aside, 6), "R", size_px=round(letters * 1.3))
    write(draw, (width - aside, 6), "L", size_px=round(letters * 1.3), anchor="ra")
    for key in reading.key_slices:
        y = upright.row_px(float(reading.volume.positions_mm[key.index]))
        draw.line((0, y, 10, y), fill=TEXT_RGB, width=2)
        write(draw, (14, y), str(key.index + 1), size_px=letters - 2, anchor="lm")
    scale_bar(draw, image.size, upright.mm_px)
    if overlay:
        _legend(image, draw, (8, image.height - 8), letters)
    return np.asarray(image)


def band_px(width_px: int) -> int:
    """Height of the band under the picture."""
    return round(letter_px(width_px) * 2.4)


def _legend(image: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], letters: int) -> None:
    """A bar of the heat colours with its lower left corner at ``at``, the depths above it."""
    x, y = at
    full_mm, length, thick = HEAT[-1][0], letters * 9, max(6, letters // 2)
    colours = heat(np.linspace(0, full_mm, length))[None].repeat(thick, axis=0)
    image.paste(Image.fromarray(colours), (x, y - thick))
    for mm in (0, 20, 40, 60):
        words = f"{mm}+ mm of lesion, front to back" if mm == full_mm else str(mm)
        write(draw, (x + length * mm / full_mm, y - thick - 3), words, size_px=letters - 2, anchor="ld")
