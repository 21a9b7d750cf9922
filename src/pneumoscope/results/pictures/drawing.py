"""What all pictures share: window, colours, letters, scale bar."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Rgb = NDArray[np.uint8]  # (row, column, 3)
Colour = tuple[int, int, int]

LUNG_WINDOW_HU = (-600.0, 1500.0)  # centre, width
#: Apart in lightness as well as in hue, so that they stay apart for colour-blind eyes and in print.
GROUND_GLASS_RGB: Colour = (255, 196, 61)
CONSOLIDATION_RGB: Colour = (226, 68, 132)
LUNG_RGB: Colour = (92, 200, 214)
#: What speaks for the pattern and against it.
FOR_RGB: Colour = (255, 120, 40)
AGAINST_RGB: Colour = (70, 130, 255)
TEXT_RGB: Colour = (238, 238, 238)
SCALE_BAR_MM = 50.0

#: Depth of lesion along the ray in mm, and its colour: brighter is deeper, as in the plasma colour map.
HEAT = ((0.0, (120, 30, 170)), (15.0, (190, 55, 135)), (35.0, (240, 125, 75)), (60.0, (250, 235, 60)))


def window(hu: NDArray[np.generic], window_hu: tuple[float, float] = LUNG_WINDOW_HU) -> NDArray[np.uint8]:
    """HU (row, column) to grey; ``window_hu`` is centre and width."""
    centre, width = window_hu
    return np.clip((hu.astype(np.float32) - (centre - width / 2)) * (255 / width), 0, 255).astype(np.uint8)


def tint(picture: Rgb, mask: NDArray[np.bool_], colour: Colour, strength: float) -> None:
    """Blend a colour into a picture where the mask is set, in place."""
    picture[mask] = (picture[mask] * (1 - strength) + np.array(colour) * strength).astype(np.uint8)


def heat(depth_mm: NDArray[np.floating]) -> Rgb:
    """Colours of depths of lesion, (...,) mm to (..., 3)."""
    marks = [mm for mm, _ in HEAT]
    channels = [np.interp(depth_mm, marks, [colour[c] for _, colour in HEAT]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask with a neighbour outside it."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner


def resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask at another (width, height), its outline smooth."""
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8) * 255)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR)) > 127


@lru_cache(maxsize=16)
def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which has Latin letters only: no names are drawn."""
    return ImageFont.load_default(size_px)


def letter_px(width_px: int) -> int:
    """Height of the letters in a picture of this width: readable when the picture is shown at half its size."""
    return max(12, round(width_px / 34))


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, *, size_px: int, anchor: str = "la") -> None:
    """Light letters with a dark rim, readable on any grey."""
    draw.text(at, words, font=font(size_px), fill=TEXT_RGB, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def scale_bar(draw: ImageDraw.ImageDraw, size: tuple[int, int], mm_px: float) -> None:
    """A bar of 5 cm in the lower right corner of a picture of ``size`` (width, height)."""
    width, height = size
    letters = letter_px(width)
    right, low, length = width - 10, height - 10, SCALE_BAR_MM / mm_px
    draw.line((right - length - 1, low, right + 1, low), fill=(0, 0, 0), width=6)
    draw.line((right - length, low, right, low), fill=TEXT_RGB, width=3)
    write(draw, (right, low - 6), f"{SCALE_BAR_MM / 10:.0f} cm", size_px=letters, anchor="rd")
