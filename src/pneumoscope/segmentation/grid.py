"""The picture that the network sees: one scale of intensity, one size of pixel, one orientation, centred on the body."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.geometry import AxialView
from pneumoscope.records import Volume

_T = TypeVar("_T", np.uint8, np.float32)

#: Side of the network's picture and its pixel: 192 x 2 mm covers 384 mm, wider than any pair of lungs.
NETWORK_SIZE_PX = 192
NETWORK_PIXEL_MM = 2.0
#: HU that map to 0 and 1: from below air to above muscle and blood without contrast; bone and metal saturate.
WINDOW_HU = (-1050.0, 250.0)
#: Above this a voxel is taken for body when the body's centre is looked for.
BODY_HU = -300


def scale_hu(hu: NDArray[np.floating] | NDArray[np.int16]) -> NDArray[np.float32]:
    """HU to 0..1, clipped at the window's ends."""
    low, high = WINDOW_HU
    scaled: NDArray[np.float32] = np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)
    return scaled


@dataclass(frozen=True, kw_only=True)
class NetworkGrid:
    """Maps slices of one volume, in the common orientation, to the network's picture and back.

    ``shape_px``: (row, column) of a slice. ``scaled_px``: the same slice at the network's pixel size. ``offset_px``: where
    the scaled slice begins in the network's picture, negative where it is cut off.
    """

    view: AxialView
    shape_px: tuple[int, int]
    scaled_px: tuple[int, int]
    offset_px: tuple[int, int]

    @classmethod
    def of(cls, volume: Volume) -> "NetworkGrid":
        """The grid that centres the body of this volume."""
        view = AxialView.from_orientation(volume.ImageOrientationPatient)
        spacing_mm = volume.PixelSpacing[::-1] if view.transpose else volume.PixelSpacing
        step = max(1, len(volume.hu) // 24)
        coarse = view.apply(volume.hu[::step])[:, ::4, ::4] > BODY_HU
        shape_px = view.apply(volume.hu[0]).shape
        rows, columns = (np.flatnonzero(coarse.any(axis=axes)) for axes in ((0, 2), (0, 1)))
        scale = [mm / NETWORK_PIXEL_MM for mm in spacing_mm]
        scaled_px = tuple(max(1, round(n * s)) for n, s in zip(shape_px, scale, strict=True))
        weights = coarse.sum(axis=0)
        offset_px = []
        for axis, found in enumerate((rows, columns)):
            profile = weights.sum(axis=1 - axis)
            centre = float((profile * np.arange(len(profile))).sum() / profile.sum()) * 4 if len(found) else shape_px[axis] / 2
            offset_px.append(round(NETWORK_SIZE_PX / 2 - centre * scale[axis]))
        return cls(
            view=view,
            shape_px=(shape_px[0], shape_px[1]),
            scaled_px=(scaled_px[0], scaled_px[1]),
            offset_px=(offset_px[0], offset_px[1]),
        )

    def picture(self, hu: NDArray[np.int16]) -> NDArray[np.float32]:
        """One slice (row, column) as stored to the network's picture."""
        image = Image.fromarray(np.ascontiguousarray(scale_hu(self.view.apply(hu))))
        scaled = np.asarray(image.resize(self.scaled_px[::-1], Image.Resampling.BILINEAR))
        picture = np.zeros((NETWORK_SIZE_PX, NETWORK_SIZE_PX), dtype=np.float32)
        inside, source = self._overlap()
        picture[inside] = scaled[source]
        return picture

    def to_slice(self, picture: NDArray[_T], *, smooth: bool, part: tuple[slice, slice] | None = None) -> NDArray[_T]:
        """A map on the network's picture to one slice (row, column) in the common orientation; outside it, 0.

        ``part``: rows and columns that are wanted, by default all; far quicker for a few.
        """
        scaled = np.zeros(self.scaled_px, dtype=picture.dtype)
        inside, target = self._overlap()
        scaled[target] = picture[inside]
        resample = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
        rows, columns = part or (slice(0, n) for n in self.shape_px)
        y, x = (a / b for a, b in zip(self.scaled_px, self.shape_px, strict=True))
        size_px = columns.stop - columns.start, rows.stop - rows.start
        box = (columns.start * x, rows.start * y, columns.stop * x, rows.stop * y)
        return np.asarray(Image.fromarray(scaled).resize(size_px, resample, box=box))

    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where picture and scaled slice lie over each other: their index ranges in the picture, in the slice."""
        inside, source = [], []
        for offset, length in zip(self.offset_px, self.scaled_px, strict=True):
            start, stop = max(0, offset), max(0, min(NETWORK_SIZE_PX, offset + length))
            inside.append(slice(start, stop))
            source.append(slice(start - offset, stop - offset))
        return (inside[0], inside[1]), (source[0], source[1])
