"""The shapes of a chest, as signed distances: negative inside, in mm.

Coordinates: x to the patient's left, y to the back, z to the head, in mm; the origin lies in the middle of the body at the
lower end of the scan. Distances are exact for balls and near enough elsewhere for an edge to be blended over a pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

FAT_HU, MUSCLE_HU, BLOOD_HU, LIVER_HU, BONE_HU, MARROW_HU = -95.0, 45.0, 45.0, 58.0, 650.0, 220.0
LUNG_TOP_MM = 285.0
RIB_STEP_MM = 27.0


@dataclass(frozen=True, kw_only=True)
class Build:
    """How this patient is made; lengths in mm."""

    half_width: float = 168.0
    half_depth: float = 112.0
    fat: float = 14.0
    lung_hu: float = -860.0
    dome_right: float = 62.0  # height of the right diaphragm's dome above the scan's lower end
    heart: float = 52.0
    table: float = 128.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Build":
        """Another patient."""
        scale = rng.normal(1.0, 0.07)
        depth = 112 * scale * rng.normal(1.0, 0.05)
        return cls(
            half_width=168 * scale,
            half_depth=depth,
            fat=float(rng.uniform(6, 32)),
            lung_hu=float(rng.uniform(-900, -780)),
            dome_right=float(rng.uniform(45, 95)),
            heart=float(rng.uniform(44, 62)),
            table=depth + float(rng.uniform(8, 25)),
        )


def ellipse(x: Array, y: Array, *, a: float, b: float) -> Array:
    """Distance to an ellipse about the origin with half-axes a and b, good near its edge."""
    k0 = np.sqrt((x / a) ** 2 + (y / b) ** 2)
    k1 = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2)
    return np.asarray(k0 * (k0 - 1) / np.maximum(k1, 1e-6), dtype=np.float32)


def ellipsoid(x: Array, y: Array, z: Array | float, *, radii: tuple[float, float, float]) -> Array:
    """Distance to an ellipsoid about the origin, good near its surface."""
    a, b, c = radii
    k0 = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    k1 = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2)
    return np.asarray(k0 * (k0 - 1) / np.maximum(k1, 1e-6), dtype=np.float32)


def capsule(x: Array, y: Array, z: Array | float, *, ends: NDArray[np.float64], radii: tuple[float, float]) -> Array:
    """Distance to a rod between two points ``ends`` (2, 3) whose radius changes linearly along it."""
    (ax, ay, az), (bx, by, bz) = ends
    length2 = max(float(((ends[1] - ends[0]) ** 2).sum()), 1e-6)
    t = ((x - ax) * (bx - ax) + (y - ay) * (by - ay) + (z - az) * (bz - az)) / length2
    t = np.clip(t, 0, 1)
    distance = np.sqrt((x - ax - t * (bx - ax)) ** 2 + (y - ay - t * (by - ay)) ** 2 + (z - az - t * (bz - az)) ** 2)
    return np.asarray(distance - radii[0] - t * (radii[1] - radii[0]), dtype=np.float32)


def skin(x: Array, y: Array, z: Array | float, build: Build) -> Array:
    """The body's outline; it flattens and widens to the shoulders at the top."""
    top = np.clip((np.asarray(z, dtype=np.float32) - 255) / 60, 0, 1)
    a, b = build.half_width * (1 + 0.12 * top), build.half_depth * (1 - 0.22 * top)
    k = (np.abs(x / a) ** 2.4 + np.abs(y / b) ** 2.4) ** (1 / 2.4)
    return np.asarray((k - 1) * np.minimum(a, b), dtype=np.float32)


def diaphragm(x: Array, y: Array, side: int, build: Build) -> Array:
    """Height of the diaphragm under one lung (side -1 right, 1 left): a dome, its rim deep at the back."""
    height = build.dome_right - (0 if side < 0 else 14)
    centre = side * 0.42 * build.half_width
    fall = ((x - centre) / 78) ** 2 + ((y + 8) / 92) ** 2
    return np.asarray(height - 42 * fall - 22 * np.clip(y / 80, 0, 1), dtype=np.float32)


def lung(x: Array, y: Array, z: Array | float, side: int, build: Build) -> Array:
    """One lung with its cardiac notch, without trachea and main bronchi."""
    h = np.clip(np.asarray(z, dtype=np.float32) / LUNG_TOP_MM, 0, 1.2)
    taper = np.sqrt(np.clip(1 - h**3.2, 1e-3, 1))
    ax = 0.385 * build.half_width * (0.35 + 0.65 * taper)
    ay = 0.74 * build.half_depth * (0.25 + 0.75 * taper)
    centre = side * (0.43 * build.half_width - 14 * h**3)
    k = (np.abs((x - centre) / ax) ** 2.2 + np.abs((y - 4) / ay) ** 2.2) ** (1 / 2.2)
    f = (k - 1) * np.minimum(ax, ay)
    f = np.maximum(f, np.asarray(z, dtype=np.float32) - LUNG_TOP_MM)
    f = np.maximum(f, 0.8 * (diaphragm(x, y, side, build) - z))
    f = np.maximum(f, 17.0 - side * x)  # the mediastinum
    f = np.maximum(f, -heart(x, y, z, build) + 2)
    return np.asarray(np.maximum(f, -vertebra(x, y) + 3), dtype=np.float32)


def heart(x: Array, y: Array, z: Array | float, build: Build) -> Array:
    """The heart, to the left and in front, resting on the diaphragm."""
    r = build.heart
    return ellipsoid(
        x - 0.42 * r, y + 0.42 * build.half_depth - 8, np.asarray(z - build.dome_right - 34), radii=(1.15 * r, 0.8 * r, 1.1 * r)
    )


def vertebra(x: Array, y: Array) -> Array:
    """The body of a vertebra; the same at all heights."""
    return ellipse(x, y - 62, a=19, b=15)


def airways(z: float) -> list[tuple[NDArray[np.float64], tuple[float, float]]]:
    """Trachea and main bronchi near height z, as rods."""
    carina = np.array([0.0, 8.0, 185.0])
    rods = [
        (np.array([[0.0, -8.0, 330.0], carina]), (9.0, 9.0)),
        (np.array([carina, [-34.0, 16.0, 160.0]]), (7.0, 5.0)),
        (np.array([carina, [38.0, 18.0, 152.0]]), (6.5, 4.5)),
    ]
    return [rod for rod in rods if rod[0][:, 2].min() - 10 < z < rod[0][:, 2].max() + 10]


def vessels(build: Build, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vessel trees of both lungs: rods (n, 2, 3) and their radii (n, 2), thinner with every branching."""
    rng = np.random.default_rng([seed, 7])
    ends: list[NDArray[np.float64]] = []
    radii: list[tuple[float, float]] = []

    def grow(start: NDArray[np.float64], direction: NDArray[np.float64], radius: float, side: int) -> None:
        length = rng.uniform(14, 26) * (0.5 + radius / 4)
        end = start + direction * length
        x, y, z = (np.full(1, v, dtype=np.float32) for v in end)
        inside = lung(x, y, z, side, build)[0]
        if radius < 0.5 or (inside > -3 and len(ends) > 12):
            return
        ends.append(np.stack([start, end]))
        radii.append((radius, radius * 0.8))
        for _ in range(2 if radius > 0.7 else 1):
            turned = direction + rng.normal(0, 0.45, 3)
            grow(end, turned / np.linalg.norm(turned), radius * rng.uniform(0.68, 0.82), side)

    for side in (-1, 1):
        hilum = np.array([side * 38.0, 14.0, 158.0])
        for k in range(12):
            aim = np.array([side * rng.uniform(0.25, 1.0), rng.uniform(-0.9, 1.0), np.cos(np.pi * (k + 0.5) / 12)])
            grow(hilum, aim / np.linalg.norm(aim), rng.uniform(2.6, 4.2), side)
    return np.array(ends), np.array(radii)
