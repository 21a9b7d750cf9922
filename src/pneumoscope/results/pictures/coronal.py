"""The lungs from the front, with all lesions projected."""

import numpy as np
from PIL import Image, ImageDraw

from pneumoscope.geometry import AxialView
from pneumoscope.records import Reading
from pneumoscope.results.pictures.drawing import Rgb, tint, window, write
from pneumoscope.results.pictures.slices import chest_box

#: Depth of lesion in mm at which the heat colours change, faint to strong.
HEAT_MM = (2.0, 8.0, 16.0, 30.0)
HEAT_RGB = ((255, 225, 130), (255, 178, 60), (240, 110, 60), (200, 30, 90))


def coronal(reading: Reading, *, overlay: bool = True, width_px: int = 560) -> Rgb:
    """(row, column, 3), head up, the patient's right on the left: mean density of a thick slab, lesion depth as colour."""
    volume = reading.volume
    view = AxialView.from_orientation(volume.ImageOrientationPatient)
    rows_mm, columns_mm = volume.PixelSpacing[::-1] if view.transpose else volume.PixelSpacing
    rows, columns = chest_box(reading, view, rows_mm, columns_mm)
    middle = (rows.start + rows.stop) // 2
    half = max(1, round(12 / rows_mm))
    slab = view.apply(volume.hu)[:, middle - half : middle + half : 2, columns].mean(axis=1)
    depth_mm = np.stack([(view.apply(lesions)[rows, columns] > 0).sum(axis=0) for lesions in reading.masks.lesions]) * rows_mm
    # slices stand at their own positions, so that gaps and uneven spacing keep the body's proportions
    step_mm = slab.shape[1] * columns_mm / width_px
    heights = np.arange(volume.positions_mm[-1], volume.positions_mm[0], -step_mm)
    nearest = np.abs(heights[:, None] - volume.positions_mm[None]).argmin(axis=1)
    size = (width_px, len(heights))
    picture = np.array(Image.fromarray(window(slab[nearest])).resize(size, Image.Resampling.BICUBIC))
    if overlay:
        depth = np.asarray(Image.fromarray(depth_mm[nearest].astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
        for low, high, colour in zip(HEAT_MM, (*HEAT_MM[1:], np.inf), HEAT_RGB, strict=True):
            tint(picture, (depth >= low) & (depth < high), colour, 0.62)
    return _lettered(picture, overlay=overlay)


def _lettered(picture: Rgb, *, overlay: bool) -> Rgb:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    write(draw, (8, height / 2), "R", size_px=18, anchor="lm")
    write(draw, (width - 8, height / 2), "L", size_px=18, anchor="rm")
    if overlay:
        write(draw, (8, height - 26), "depth of lesion, mm", size_px=12, anchor="ld")
        for k, (mm, colour) in enumerate(zip(HEAT_MM, HEAT_RGB, strict=True)):
            draw.rectangle((8 + 44 * k, height - 22, 50 + 44 * k, height - 14), fill=colour)
            write(draw, (8 + 44 * k, height - 2), f"{mm:.0f}+", size_px=11, anchor="ld")
    return np.asarray(image)
