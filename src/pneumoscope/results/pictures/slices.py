"""One axial slice as a radiologist sees it: the patient's right on the left."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pneumoscope.geometry import AxialView
from pneumoscope.records import CONSOLIDATION_LABEL, GROUND_GLASS_LABEL, Reading
from pneumoscope.results.pictures.drawing import (
    CONSOLIDATION_RGB,
    GROUND_GLASS_RGB,
    LUNG_RGB,
    Rgb,
    outline,
    tint,
    window,
    write,
)
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS

MARGIN_MM = 12.0
SCALE_BAR_MM = 50.0


def key_slice(reading: Reading, index: int, *, overlay: bool, width_px: int = 560, marked: bool = False) -> Rgb:
    """(row, column, 3) of one slice, cropped to the chest. ``marked`` burns in that it is not for primary diagnosis."""
    volume, masks = reading.volume, reading.masks
    view = AxialView.from_orientation(volume.ImageOrientationPatient)
    rows_mm, columns_mm = volume.PixelSpacing[::-1] if view.transpose else volume.PixelSpacing
    rows, columns = chest_box(reading, view, rows_mm, columns_mm)
    hu = view.apply(volume.hu[index])[rows, columns]
    height_px = round(width_px * hu.shape[0] * rows_mm / (hu.shape[1] * columns_mm))
    size = (width_px, height_px)
    picture = np.array(Image.fromarray(window(hu)).resize(size, Image.Resampling.BICUBIC))
    if overlay:
        lungs = _resized(view.apply(masks.lungs[index])[rows, columns] > 0, size)
        tint(picture, outline(lungs), LUNG_RGB, 0.7)
        for label, colour in ((GROUND_GLASS_LABEL, GROUND_GLASS_RGB), (CONSOLIDATION_LABEL, CONSOLIDATION_RGB)):
            lesion = _resized(view.apply(masks.lesions[index])[rows, columns] == label, size)
            tint(picture, lesion, colour, 0.32)
            tint(picture, outline(lesion), colour, 0.9)
    return _lettered(picture, reading, index, mm_px=hu.shape[1] * columns_mm / width_px, marked=marked)


def chest_box(reading: Reading, view: AxialView, rows_mm: float, columns_mm: float) -> tuple[slice, slice]:
    """Rows and columns around the lungs with room for the chest wall, the same for all slices of a reading."""
    lungs = view.apply(reading.masks.lungs[:: max(1, len(reading.masks.lungs) // 40)])
    box = []
    for axes, mm in (((0, 2), rows_mm), ((0, 1), columns_mm)):
        found = np.flatnonzero(lungs.any(axis=axes))
        length = lungs.shape[1 if axes == (0, 2) else 2]
        margin = round((MARGIN_MM + 18) / mm)
        low, high = (found[0], found[-1] + 1) if len(found) else (0, length)
        box.append(slice(max(0, int(low) - margin), min(length, int(high) + margin)))
    return box[0], box[1]


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8) * 255)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR)) > 127


def _lettered(picture: Rgb, reading: Reading, index: int, *, mm_px: float, marked: bool) -> Rgb:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    write(draw, (8, height / 2), "R", size_px=18, anchor="lm")
    write(draw, (width - 8, height / 2), "L", size_px=18, anchor="rm")
    count, position_mm = len(reading.volume.hu), reading.volume.positions_mm[index]
    write(draw, (8, 6), f"slice {index + 1} / {count}   {position_mm:+.1f} mm")
    bar_px = SCALE_BAR_MM / mm_px
    draw.line((width - 10 - bar_px, height - 12, width - 10, height - 12), fill=(235, 238, 240), width=2)
    write(draw, (width - 10, height - 16), f"{SCALE_BAR_MM / 10:.0f} cm", size_px=12, anchor="rd")
    if marked:
        write(draw, (8, height - 8), NOT_FOR_DIAGNOSIS, anchor="ld")
    return np.asarray(image)
