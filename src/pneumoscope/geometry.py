"""Positions, orientations and lengths; pure numpy.

Coordinates are DICOM patient coordinates: x to the patient's left, y to the back, z to the head, in mm (PS3.3 C.7.6.2.1.1).
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
Vector = NDArray[np.float64]


def slice_normal(ImageOrientationPatient: tuple[float, ...]) -> Vector:
    """Unit normal of a slice, turned towards the head.

    ``ImageOrientationPatient``: direction of a row (increasing column), then of a column (increasing row).
    """
    along_row, along_column = np.asarray(ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    normal = normal / np.linalg.norm(normal)
    return normal if normal[2] >= 0 else -normal


def angle_deg(a: Vector, b: Vector) -> float:
    """Angle between two directions, 0 to 90 degrees; opposite directions count as the same."""
    cosine = abs(float(np.dot(a, b))) / (float(np.linalg.norm(a)) * float(np.linalg.norm(b)))
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def intervals_mm(positions_mm: Vector) -> Vector:
    """Length that each slice of an ascending stack stands for: half-way to its neighbours, the ends like their neighbour.

    >>> intervals_mm(np.array([0.0, 1.0, 2.0, 4.0]))
    array([1. , 1. , 1.5, 2. ])
    """
    steps = np.diff(positions_mm)
    padded = np.concatenate([steps[:1], steps, steps[-1:]])
    return np.asarray((padded[:-1] + padded[1:]) / 2)


@dataclass(frozen=True, kw_only=True)
class AxialView:
    """How to turn slices as stored into the one orientation that everything after expects, and back.

    In that orientation rows run to the patient's back and columns to the patient's left, as a radiologist sees it.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool

    @classmethod
    def from_orientation(cls, ImageOrientationPatient: tuple[float, ...]) -> "AxialView":
        """The view of axial slices stored with this orientation."""
        along_row, along_column = np.asarray(ImageOrientationPatient, dtype=float).reshape(2, 3)
        transpose = bool(abs(along_row[0]) < abs(along_row[1]))
        if transpose:
            along_row, along_column = along_column, along_row
        return cls(transpose=transpose, flip_rows=bool(along_column[1] < 0), flip_columns=bool(along_row[0] < 0))

    def apply(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn (..., row, column) as stored into the common orientation; a view, not a copy."""
        if self.transpose:
            array = np.swapaxes(array, -1, -2)
        return self._flip(array)

    def undo(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn (..., row, column) in the common orientation back to as stored; a view, not a copy."""
        array = self._flip(array)
        return np.swapaxes(array, -1, -2) if self.transpose else array

    def _flip(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        rows = slice(None, None, -1) if self.flip_rows else slice(None)
        columns = slice(None, None, -1) if self.flip_columns else slice(None)
        return array[..., rows, columns]
