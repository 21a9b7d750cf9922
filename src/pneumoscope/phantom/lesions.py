"""Lesions of chosen kind, place and exact volume."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pneumoscope.phantom.anatomy import Array, Build, lung


class LesionKind(StrEnum):
    """What fills the lesion."""

    GROUND_GLASS = "ground-glass"
    CONSOLIDATION = "consolidation"


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lesion to be made. ``centre_mm``: x left, y back, z head, from the body's middle at the scan's lower end."""

    kind: LesionKind
    centre_mm: tuple[float, float, float]
    volume_ml: float  # of the part inside the lung
    hu: float | None = None
    roughness: float = 0.18
    seed: int = 0

    @property
    def side(self) -> int:
        """-1 in the patient's right lung, 1 in the left."""
        return -1 if self.centre_mm[0] < 0 else 1

    @property
    def level_hu(self) -> float:
        """Its density, before texture."""
        return self.hu if self.hu is not None else (-600.0 if self.kind is LesionKind.GROUND_GLASS else 20.0)


def parse_lesion(text: str) -> Lesion:
    """``KIND:X,Y,Z:ML``, as ``ground-glass:-90,45,110:20``, with mm and ml. Raises ValueError saying what is allowed."""
    try:
        kind, centre, volume_ml = text.split(":")
        x, y, z = (float(part) for part in centre.split(","))
        return Lesion(kind=LesionKind(kind), centre_mm=(x, y, z), volume_ml=float(volume_ml))
    except ValueError as fault:
        kinds = " or ".join(LesionKind)
        raise ValueError(f"{text!r} is no lesion: KIND:X,Y,Z:ML, KIND being {kinds}, X,Y,Z in mm") from fault


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A lesion with the radius that gives it its volume."""

    lesion: Lesion
    radius_mm: float
    waves: NDArray[np.float64]  # (n, 4): direction times frequency, phase

    @property
    def reach_mm(self) -> float:
        """No part of the lesion lies further than this from its centre."""
        return self.radius_mm * (1 + self.lesion.roughness) + 2

    def distance(self, x: Array, y: Array, z: Array | float, build: Build) -> Array:
        """Signed distance to the lesion, clipped to its lung."""
        return np.maximum(self._free(x, y, z, self.radius_mm), lung(x, y, z, self.lesion.side, build) + 0.3)

    def _free(self, x: Array, y: Array, z: Array | float, radius_mm: float) -> Array:
        cx, cy, cz = self.lesion.centre_mm
        dx, dy, dz = x - cx, y - cy, (z - cz) * 1.1
        distance = np.sqrt(dx**2 + dy**2 + dz**2) + 1e-3
        bumps = sum(np.sin((dx * wx + dy * wy + dz * wz) / distance + phase) for wx, wy, wz, phase in self.waves)
        return np.asarray(distance - radius_mm * (1 + self.lesion.roughness * bumps / len(self.waves)), dtype=np.float32)


@lru_cache(maxsize=256)
def shape_of(lesion: Lesion, build: Build) -> Shape:
    """Find the radius by bisection on a grid of a twelfth of it, edges blended.

    Raises ValueError where the lung has no room for the volume.
    """
    rng = np.random.default_rng([lesion.seed, 11])
    waves = np.column_stack([rng.normal(0, 2.2, (5, 3)), rng.uniform(0, 2 * np.pi, 5)])
    ball_mm = (lesion.volume_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    low, high = 0.6 * ball_mm, 2.2 * ball_mm
    step = ball_mm / 12
    reach = high * (1 + lesion.roughness)
    axis = np.arange(-reach, reach, step, dtype=np.float32)
    cx, cy, cz = lesion.centre_mm
    x, y, z = np.meshgrid(cx + axis, cy + axis, cz + axis, indexing="ij", sparse=True)
    wall = lung(x, y, z, lesion.side, build) + 0.3
    probe = Shape(lesion=lesion, radius_mm=1.0, waves=waves)
    # the distance; the bumps scale with the radius and are found from a second probe
    free = probe._free(x, y, z, 0.0)
    bumps = free - probe._free(x, y, z, 1.0)

    def volume_ml(radius: float) -> float:
        inside = np.maximum(free - radius * bumps, wall)
        return float(np.clip(0.5 - inside / step, 0, 1).sum()) * step**3 / 1000

    if volume_ml(high) < lesion.volume_ml:
        raise ValueError(f"no room for {lesion.volume_ml} ml of lesion at this place")
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if volume_ml(middle) < lesion.volume_ml else (low, middle)
    return Shape(lesion=lesion, radius_mm=(low + high) / 2, waves=waves)
