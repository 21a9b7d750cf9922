"""What all pictures share: window, colours, letters."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

Rgb = NDArray[np.uint8]  # (row, column, 3)

LUNG_WINDOW_HU = (-600.0, 1500.0)  # centre, width
#: Apart in lightness as well as in hue, so that they stay apart for colour-blind eyes and in print.
GROUND_GLASS_RGB = (255, 196, 61)
CONSOLIDATION_RGB = (226, 68, 132)
LUNG_RGB = (92, 200, 214)
TEXT_RGB = (235, 238, 240)


def window(hu: NDArray[np.generic]) -> Rgb:
    """HU (row, column) to grey RGB in the lung window."""
    centre, width = LUNG_WINDOW_HU
    grey = np.clip((hu.astype(np.float32) - (centre - width / 2)) * (255 / width), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def tint(picture: Rgb, mask: NDArray[np.bool_], colour: tuple[int, int, int], strength: float) -> None:
    """Blend a colour into a picture where the mask is set, in place."""
    picture[mask] = (picture[mask] * (1 - strength) + np.array(colour) * strength).astype(np.uint8)


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask with a neighbour outside it."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner


@lru_cache(maxsize=8)
def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which has Latin letters only: no names are drawn."""
    return ImageFont.load_default(size_px)


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, *, size_px: int = 14, anchor: str = "la") -> None:
    """Light letters with a dark rim, readable on any grey."""
    draw.text(at, words, font=font(size_px), fill=TEXT_RGB, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))
