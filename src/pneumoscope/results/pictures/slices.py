"""One axial slice as a radiologist sees it: the patient's right on the left."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pneumoscope.geometry import AxialView
from pneumoscope.records import CONSOLIDATION_LABEL, GROUND_GLASS_LABEL, Reading
from pneumoscope.results.pictures.drawing import (
    AGAINST_RGB,
    CONSOLIDATION_RGB,
    FOR_RGB,
    GROUND_GLASS_RGB,
    LUNG_RGB,
    Rgb,
    letter_px,
    outline,
    resized,
    scale_bar,
    tint,
    window,
    write,
)
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS
from pneumoscope.segmentation.grid import NETWORK_SIZE_PX, NetworkGrid

#: Log odds that a cell of the network's evidence adds for it to be drawn in full colour.
STRONG_EVIDENCE = 0.1
#: Room around the lungs, enough for the chest wall.
MARGIN_MM = 30.0


def key_slice(
    reading: Reading, index: int, *, overlay: bool, width_px: int = 560, marked: bool = False, lettered: bool = True
) -> Rgb:
    """(row, column, 3) of one slice, cropped to the chest. ``marked`` burns in that it is not for primary diagnosis."""
    volume = reading.volume
    view, (rows_mm, columns_mm) = axial_view(reading)
    rows, columns = chest_box(reading)
    hu = view.apply(volume.hu[index])[rows, columns]
    mm_px = hu.shape[1] * columns_mm / width_px
    size = (width_px, max(1, round(hu.shape[0] * rows_mm / mm_px)))
    picture = np.array(Image.fromarray(window(hu)).resize(size, Image.Resampling.BICUBIC).convert("RGB"))
    if overlay:
        for mask, colour, strength in _marks(reading, index, size):
            tint(picture, mask, colour, strength)
    return _lettered(picture, reading, index, mm_px=mm_px, marked=marked) if lettered else picture


def overlay_layer(reading: Reading, index: int, *, width_px: int = 560) -> NDArray[np.uint8]:
    """(row, column, 4) RGBA: what ``key_slice`` lays over its slice, alone, of the same size."""
    _, (rows_mm, columns_mm) = axial_view(reading)
    rows, columns = chest_box(reading)
    mm_px = (columns.stop - columns.start) * columns_mm / width_px
    size = (width_px, max(1, round((rows.stop - rows.start) * rows_mm / mm_px)))
    marks = list(_marks(reading, index, size))
    # which marks lie over a pixel, as bits; each of the few combinations is blended once
    over = np.zeros((size[1], size[0]), dtype=np.uint8)
    colour = np.zeros((2 ** len(marks), 3), dtype=np.float32)
    through = np.ones((2 ** len(marks), 1), dtype=np.float32)  # of the slice, what is still seen
    for bit, (mask, rgb, strength) in enumerate(marks):
        over |= mask.astype(np.uint8) << bit
        marked = np.arange(len(colour)) & 1 << bit > 0
        colour[marked] = colour[marked] * (1 - strength) + np.array(rgb, dtype=np.float32) * strength
        through[marked] *= 1 - strength
    alpha = 1 - through
    blended = np.concatenate([colour / np.maximum(alpha, 1e-6), alpha * 255], axis=1).round().clip(0, 255).astype(np.uint8)
    return np.asarray(blended[over])


def _marks(
    reading: Reading, index: int, size: tuple[int, int]
) -> Iterator[tuple[NDArray[np.bool_], tuple[int, int, int], float]]:
    """What is drawn over a slice, the lowest first: where, in which colour, how strongly."""
    view, _ = axial_view(reading)
    box = chest_box(reading)
    lungs = resized(view.apply(reading.masks.lungs[index])[box] > 0, size)
    yield outline(lungs), LUNG_RGB, 0.75
    for label, colour in ((GROUND_GLASS_LABEL, GROUND_GLASS_RGB), (CONSOLIDATION_LABEL, CONSOLIDATION_RGB)):
        lesion = resized(view.apply(reading.masks.lesions[index])[box] == label, size)
        yield lesion, colour, 0.25
        yield outline(lesion), colour, 0.9


def evidence_slice(reading: Reading, index: int, *, width_px: int = 560) -> Rgb:
    """(row, column, 3) of one slice, its lesions coloured by what speaks for the pattern and what against it."""
    masks, (view, (_, columns_mm)) = reading.masks, axial_view(reading)
    rows, columns = chest_box(reading)
    grid = NetworkGrid.of(reading.volume)
    value = grid.to_slice(_spread(reading.evidence[index]), smooth=True)[rows, columns]
    lungs, lesions = (view.apply(mask[index])[rows, columns] > 0 for mask in (masks.lungs, masks.lesions))
    picture = np.array(key_slice(reading, index, overlay=False, width_px=width_px))
    size = (picture.shape[1], picture.shape[0])
    value = np.asarray(Image.fromarray(np.ascontiguousarray(value)).resize(size, Image.Resampling.BILINEAR))
    inside = resized(lesions, size)
    strength = np.where(inside, np.clip(np.abs(value) / STRONG_EVIDENCE, 0, 1) * 0.75, 0)[..., None]
    colour = np.where(value[..., None] > 0, FOR_RGB, AGAINST_RGB)
    coloured = (picture * (1 - strength) + colour * strength).astype(np.uint8)
    tint(coloured, outline(resized(lungs, size)), LUNG_RGB, 0.75)
    return _lettered(coloured, reading, index, mm_px=lungs.shape[1] * columns_mm / width_px, marked=False)


def _spread(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """(c, c) on the network's picture."""
    return np.asarray(Image.fromarray(cells).resize((NETWORK_SIZE_PX, NETWORK_SIZE_PX), Image.Resampling.BILINEAR))


def axial_view(reading: Reading) -> tuple[AxialView, tuple[float, float]]:
    """How to turn the slices of a reading, and the mm between the rows and between the columns of the turned slices."""
    volume = reading.volume
    view = AxialView.from_orientation(volume.ImageOrientationPatient)
    between_rows_mm, between_columns_mm = volume.PixelSpacing
    return view, (between_columns_mm, between_rows_mm) if view.transpose else (between_rows_mm, between_columns_mm)


def chest_box(reading: Reading) -> tuple[slice, slice]:
    """Rows and columns around the lungs with room for the chest wall, the same for all slices of a reading."""
    view, (rows_mm, columns_mm) = axial_view(reading)
    # every so many slices are enough: the margin covers what the others add
    lungs = np.any(view.apply(reading.masks.lungs[:: max(1, len(reading.masks.lungs) // 40)]), axis=0)
    return _span(np.any(lungs, axis=1), rows_mm), _span(np.any(lungs, axis=0), columns_mm)


def _span(present: NDArray[np.bool_], spacing_mm: float) -> slice:
    found = np.flatnonzero(present)
    if not len(found):
        return slice(0, len(present))
    margin = round(MARGIN_MM / spacing_mm)
    return slice(max(0, int(found[0]) - margin), min(len(present), int(found[-1]) + 1 + margin))


def _lettered(picture: Rgb, reading: Reading, index: int, *, mm_px: float, marked: bool) -> Rgb:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    letters = letter_px(width)
    write(draw, (8, height / 2), "R", size_px=round(letters * 1.3), anchor="lm")
    write(draw, (width - 8, height / 2), "L", size_px=round(letters * 1.3), anchor="rm")
    count, position_mm = len(reading.volume.hu), reading.volume.positions_mm[index]
    write(draw, (8, 6), f"slice {index + 1} / {count}   z {position_mm:+.1f} mm", size_px=letters)
    scale_bar(draw, image.size, mm_px)
    if marked:
        write(draw, (8, height - 8), NOT_FOR_DIAGNOSIS, size_px=letters, anchor="ld")
    return np.asarray(image)
