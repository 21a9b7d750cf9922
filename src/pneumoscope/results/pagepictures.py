"""Pictures of a reading for the node's own pages: the worst slice small, key slices and their overlays apart."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.records import Parcel, Reading
from pneumoscope.results import THUMBNAIL, overlay_name, slice_name
from pneumoscope.results.pictures import key_slice, overlay_layer

THUMBNAIL_WIDTH_PX, SLICE_WIDTH_PX = 176, 640
JPEG_QUALITY = 85


def build_page_pictures(reading: Reading) -> list[Parcel]:
    """A thumbnail, and for each key slice the picture and its overlay; about 50 kB a slice."""
    parcels = []
    for place, key in enumerate(reading.key_slices):
        if place == 0:
            small = key_slice(reading, key.index, overlay=True, width_px=THUMBNAIL_WIDTH_PX, lettered=False)
            parcels.append(_jpeg(THUMBNAIL, small))
        plain = key_slice(reading, key.index, overlay=False, width_px=SLICE_WIDTH_PX)
        parcels.append(_jpeg(slice_name(place), plain))
        parcels.append(_png(overlay_name(place), overlay_layer(reading, key.index, width_px=SLICE_WIDTH_PX)))
    return parcels


def _jpeg(name: str, picture: NDArray[np.uint8]) -> Parcel:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Parcel(name=name, media_type="image/jpeg", content=buffer.getvalue())


def _png(name: str, picture: NDArray[np.uint8]) -> Parcel:
    buffer = io.BytesIO()
    # it has a handful of colours: a palette with transparency holds them
    Image.fromarray(picture).quantize(64, Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return Parcel(name=name, media_type="image/png", content=buffer.getvalue())
