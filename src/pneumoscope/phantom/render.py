"""Shapes to HU, with the partial volume, texture and noise of a scanner."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pneumoscope.phantom import anatomy
from pneumoscope.phantom.anatomy import Array, Build
from pneumoscope.phantom.lesions import Lesion, LesionKind, Shape, shape_of

AIR_HU = -1000.0
#: A sample along z this often within the slice's thickness.
Z_STEP_MM = 1.0
#: Edges are blended over at least this width, the scanner's point spread.
BLUR_MM = 1.1


class Kind(StrEnum):
    """What lies on the table."""

    CHEST = "chest"
    HEAD = "head"
    ABDOMEN = "abdomen"
    WATER = "water"


@dataclass(frozen=True, kw_only=True)
class PhantomSpec:
    """A scan to be made; the same spec gives the same voxels."""

    kind: Kind = Kind.CHEST
    slices: int = 120
    slice_spacing_mm: float = 2.5
    slice_thickness_mm: float | None = None  # as the spacing
    pixel_spacing_mm: float = 0.72
    size_px: int = 512
    start_mm: float = -5.0  # height of the first slice above the phantom's lower end
    lesions: tuple[Lesion, ...] = ()
    noise_hu: float = 18.0
    seed: int = 1
    build: Build = field(default_factory=Build)
    mirrored: bool = False

    @property
    def positions_mm(self) -> NDArray[np.float64]:
        """(slice,) heights of the slices' centres."""
        return np.asarray(self.start_mm + np.arange(self.slices) * self.slice_spacing_mm, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """``hu`` int16, ``lungs`` uint8 (1 right, 2 left), ``lesions`` uint8 (1 ground-glass, 2 consolidation).

    All (slice, row, column): slices from feet to head, rows to the back, columns to the patient's left.
    """

    spec: PhantomSpec
    hu: NDArray[np.int16]
    lungs: NDArray[np.uint8]
    lesions: NDArray[np.uint8]


def render(spec: PhantomSpec) -> Phantom:
    """Make the scan."""
    shape = (spec.slices, spec.size_px, spec.size_px)
    hu = np.empty(shape, dtype=np.int16)
    lungs, lesions = np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint8)
    for k, (slice_hu, slice_lungs, slice_lesions) in enumerate(render_slices(spec)):
        hu[k] = np.clip(np.rint(slice_hu), -1024, 3071)
        lungs[k], lesions[k] = slice_lungs, slice_lesions
    return Phantom(spec=spec, hu=hu, lungs=lungs, lesions=lesions)


def render_slices(spec: PhantomSpec) -> Iterator[tuple[Array, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Slice by slice, feet to head: HU, lungs, lesions, each (row, column)."""
    rng = np.random.default_rng([spec.seed, 3])
    axis = ((np.arange(spec.size_px) - (spec.size_px - 1) / 2) * spec.pixel_spacing_mm).astype(np.float32)
    x, y = (-axis if spec.mirrored else axis)[None, :], axis[:, None]
    scene = _Scene(spec)
    noise = _noise_field(rng, spec)
    thickness_mm = spec.slice_thickness_mm or spec.slice_spacing_mm
    samples = max(1, round(thickness_mm / Z_STEP_MM))
    offsets = (np.arange(samples) + 0.5) / samples * thickness_mm - thickness_mm / 2
    for position in spec.positions_mm:
        hu = np.mean([scene.sample(x, y, float(position + offset)) for offset in offsets], axis=0)
        lungs, lesions = scene.truth(x, y, float(position))
        if spec.noise_hu:
            shift = rng.integers(0, spec.size_px, 2)
            hu = hu + spec.noise_hu * np.roll(noise[rng.integers(len(noise))], tuple(shift), (0, 1))
        yield hu, lungs, lesions


def true_volumes_ml(spec: PhantomSpec) -> dict[str, float]:
    """Volumes of right lung, left lung and each kind of lesion, on a grid of 1 mm, whatever the scan's grid."""
    axis = np.arange(-200, 200, 1.0, dtype=np.float32)
    x, y = (-axis if spec.mirrored else axis)[None, :], axis[:, None]
    low, high = spec.positions_mm[0] - spec.slice_spacing_mm / 2, spec.positions_mm[-1] + spec.slice_spacing_mm / 2
    heights = np.arange(low + 0.5, high, 1.0)
    volumes = {"right": 0.0, "left": 0.0, **{kind.value: 0.0 for kind in LesionKind}}
    if spec.kind is Kind.CHEST:
        scene = _Scene(spec)
        for z in heights:
            for name, side in (("right", -1), ("left", 1)):
                volumes[name] += float(_inside(scene.lung(x, y, float(z), side), 1.0).sum()) / 1000
        if spec.mirrored:
            volumes["right"], volumes["left"] = volumes["left"], volumes["right"]
        for lesion in spec.lesions:
            volumes[lesion.kind.value] += lesion.volume_ml
    return volumes


def training_slice(
    rng: np.random.Generator, *, size_px: int = 192, pixel_spacing_mm: float = 2.0
) -> tuple[Array, Array, Array]:
    """One axial slice of a random patient: HU, lung mask, lesion mask, each (row, column) float32."""
    patient = int(rng.integers(60))  # few enough for their vessel trees to be kept
    build = Build.random(np.random.default_rng([patient, 13]))
    z = float(rng.uniform(-60, 300))
    wanted = int(rng.choice([0, 1, 2, 4, 6], p=[0.35, 0.2, 0.2, 0.15, 0.1]))
    lesions = tuple(lesion for _ in range(wanted) if _has_room(lesion := _random_lesion(rng, z), build))
    spec = PhantomSpec(
        slices=1,
        slice_spacing_mm=float(rng.uniform(0.6, 3)),
        pixel_spacing_mm=pixel_spacing_mm,
        size_px=size_px,
        start_mm=z,
        lesions=lesions,
        noise_hu=float(rng.uniform(5, 40)),
        seed=patient,
        build=build,
        mirrored=bool(rng.random() < 0.5),
    )
    hu, lungs, found = next(render_slices(spec))
    return np.asarray(hu, dtype=np.float32), (lungs > 0).astype(np.float32), (found > 0).astype(np.float32)


def _random_lesion(rng: np.random.Generator, z: float) -> Lesion:
    kind = rng.choice([LesionKind.GROUND_GLASS, LesionKind.CONSOLIDATION], p=[0.7, 0.3])
    hu = rng.uniform(-740, -350) if kind is LesionKind.GROUND_GLASS else rng.uniform(-150, 60)
    centre = (rng.choice([-1, 1]) * rng.uniform(35, 125), rng.uniform(-70, 80), z + rng.uniform(-8, 8))
    return Lesion(
        kind=kind,
        centre_mm=centre,
        volume_ml=float(np.exp(rng.uniform(np.log(1), np.log(60)))),
        hu=float(hu),
        roughness=float(rng.uniform(0.1, 0.5)),
        seed=int(rng.integers(1000)),
    )


def _has_room(lesion: Lesion, build: Build) -> bool:
    try:
        shape_of(lesion, build)
    except ValueError:
        return False
    return True


def _inside(distance: Array, width: float) -> Array:
    """Share of a pixel that lies inside, from the distance of its middle; edges blend over ``width`` mm."""
    return np.clip(0.5 - distance / width, 0, 1)


class _Scene:
    """All shapes of one spec, and how to sample them at a height."""

    def __init__(self, spec: PhantomSpec) -> None:
        self.spec, self.build = spec, spec.build
        self.width = max(spec.pixel_spacing_mm, BLUR_MM)
        self.rods, self.radii = _vessel_tree(spec.build, spec.seed) if spec.kind is Kind.CHEST else (np.empty((0, 2, 3)),) * 2
        self.shapes = _shapes(spec.lesions, spec.build) if spec.kind is Kind.CHEST else ()
        rng = np.random.default_rng([spec.seed, 5])
        self.mottle = ndimage.gaussian_filter(rng.standard_normal((128, 128)), 2, mode="wrap").astype(np.float32)
        self.mottle /= self.mottle.std()

    def sample(self, x: Array, y: Array, z: float) -> Array:
        """HU of an infinitely thin slice."""
        hu = np.full(np.broadcast_shapes(x.shape, y.shape), AIR_HU, dtype=np.float32)
        if self.spec.kind is Kind.WATER:
            return self._blend(hu, anatomy.ellipse(x, y, a=100, b=100), 0.0)
        if self.spec.kind is Kind.HEAD:
            return self._head(hu, x, y, z)
        hu = self._blend(hu, np.abs(np.sqrt(x**2 + (y - self.build.table + 400) ** 2) - 400) - 3, -200.0)
        hu = self._torso(hu, x, y, z)
        return hu if self.spec.kind is Kind.ABDOMEN else self._chest(hu, x, y, z)

    def truth(self, x: Array, y: Array, z: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Masks of lungs and lesions at the slice's middle."""
        shape = np.broadcast_shapes(x.shape, y.shape)
        lungs, lesions = np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint8)
        if self.spec.kind is not Kind.CHEST:
            return lungs, lesions
        for side in (-1, 1):
            patient_right = (side < 0) != self.spec.mirrored
            lungs[self.lung(x, y, z, side) < 0] = 1 if patient_right else 2
        for shape_ in self.shapes:
            label = 1 if shape_.lesion.kind is LesionKind.GROUND_GLASS else 2
            rows, columns = _around(x, y, z, shape_)
            inside = shape_.distance(x[:, columns], y[rows], z, self.build) < 0
            lesions[rows, columns][inside] = label
        return lungs, np.where(lungs > 0, lesions, 0).astype(np.uint8)

    def lung(self, x: Array, y: Array, z: float, side: int) -> Array:
        """One lung without the airways that run through its root."""
        f = anatomy.lung(x, y, z, side, self.build)
        for ends, radii in anatomy.airways(z):
            f = np.maximum(f, -anatomy.capsule(x, y, z, ends=ends, radii=radii) + 1.5)
        return f

    def _blend(self, hu: Array, distance: Array, value: float | Array) -> Array:
        share = _inside(distance, self.width)
        return hu + share * (value - hu)

    def _torso(self, hu: Array, x: Array, y: Array, z: float) -> Array:
        """Skin, fat, muscle, bones and the organs below the diaphragm."""
        build = self.build
        skin = anatomy.skin(x, y, z, build)
        hu = self._blend(hu, skin, anatomy.FAT_HU)
        hu = self._blend(hu, skin + build.fat, anatomy.MUSCLE_HU)
        if z < 40 or self.spec.kind is Kind.ABDOMEN:
            hu = self._belly(hu, x, y, z if self.spec.kind is Kind.CHEST else z - 150)
        return self._bones(hu, x, y, z, skin)

    def _belly(self, hu: Array, x: Array, y: Array, z: float) -> Array:
        build = self.build
        hu = self._blend(
            hu, anatomy.ellipse(x, y, a=build.half_width - build.fat - 14, b=build.half_depth - build.fat - 14), -80.0
        )
        hu = self._blend(hu, anatomy.ellipsoid(x + 70, y + 5, z - 10.0, radii=(82, 78, 95)), anatomy.LIVER_HU)
        hu = self._blend(hu, anatomy.ellipsoid(x - 100, y - 38, z - 5.0, radii=(30, 38, 60)), 50.0)
        hu = self._blend(hu, anatomy.ellipsoid(x - 62, y + 28, z - 8.0, radii=(52, 40, 55)), 25.0)
        hu = self._blend(hu, anatomy.ellipsoid(x - 60, y + 46, z - 6.0, radii=(32, 16, 30)), -990.0)
        for k, (bx, by) in enumerate(((-40, -62), (10, -70), (70, -55), (-85, -40), (95, -15))):
            gas = anatomy.ellipsoid(x - bx, y - by, z + 90.0 - 17 * k, radii=(19, 12, 34))
            hu = self._blend(hu, gas - 3, 30.0)
            hu = self._blend(hu, gas, -980.0)
        return hu

    def _bones(self, hu: Array, x: Array, y: Array, z: float, skin: Array) -> Array:
        build = self.build
        hu = self._blend(hu, anatomy.ellipse(x, y - 62, a=46, b=30), anatomy.MUSCLE_HU)
        for distance in (
            anatomy.vertebra(x, y),
            anatomy.ellipse(x, y - 91, a=5, b=19),
            np.abs(anatomy.ellipse(x, y - 84, a=13, b=11)) - 2.5,
        ):
            hu = self._blend(hu, distance, anatomy.BONE_HU)
            hu = self._blend(hu, distance + 2.5, anatomy.MARROW_HU)
        hu = self._blend(hu, anatomy.ellipse(x, y - 84, a=10, b=8), 25.0)
        if 60 < z < 280:
            hu = self._blend(hu, anatomy.ellipse(x, y + 0.86 * build.half_depth - build.fat, a=17, b=6), 300.0)
        if z < 290 and self.spec.kind is Kind.CHEST:
            # ribs run down from the spine to the front: their height depends on how far round they are
            forward = (1 + np.cos(np.arctan2(x, -y + 20))) / 2
            height = np.mod(z + 75 * forward, anatomy.RIB_STEP_MM) - anatomy.RIB_STEP_MM / 2
            ring = skin + build.fat + 13
            rib = np.sqrt(ring**2 + (0.75 * height) ** 2) - 5.5
            rib = np.maximum(rib, 40 - np.abs(x))
            hu = self._blend(hu, rib, anatomy.BONE_HU)
            hu = self._blend(hu, rib + 2.2, anatomy.MARROW_HU)
        if z > 170 and self.spec.kind is Kind.CHEST:
            blade = np.abs((np.abs(x) - 95) * 0.45 + (y - 0.62 * build.half_depth)) - 3.5
            blade = np.maximum(blade, np.abs(np.abs(x) - 100) - 38)
            hu = self._blend(hu, blade, 350.0)
        return hu

    def _chest(self, hu: Array, x: Array, y: Array, z: float) -> Array:
        """Mediastinum, lungs with vessels and lesions, airways."""
        build = self.build
        if z > 30:
            hu = self._blend(hu, anatomy.ellipse(x, y + 12, a=30, b=62), -60.0)
            hu = self._blend(hu, anatomy.ellipse(x - 12, y - 36, a=12, b=12), anatomy.BLOOD_HU)
        if z > 170:
            arch = anatomy.capsule(x, y, z, ends=np.array([[-14.0, -30, 205], [12.0, 32, 212]]), radii=(14, 12))
            hu = self._blend(hu, arch, anatomy.BLOOD_HU)
            hu = self._blend(hu, anatomy.ellipse(x + 26, y + 24, a=9, b=8), anatomy.BLOOD_HU)
        elif z > 130:
            hu = self._blend(hu, anatomy.ellipse(x + 8, y + 26, a=17, b=16), anatomy.BLOOD_HU)
            hu = self._blend(hu, anatomy.ellipse(x - 14, y + 10, a=24, b=11), anatomy.BLOOD_HU)
        hu = self._blend(hu, anatomy.heart(x, y, z, build), anatomy.BLOOD_HU)
        lung = np.minimum(*(anatomy.lung(x, y, z, side, build) for side in (-1, 1)))
        if lung.min() < 2:
            hu = self._blend(hu, lung, build.lung_hu + 0.35 * (y + 10) + self._texture(x, y, z, 12.0))
            for shape in self.shapes:
                rows, columns = _around(x, y, z, shape)
                part = x[:, columns], y[rows], z
                level = shape.lesion.level_hu + self._texture(x[:, columns], y[rows], 1.7 * z, 25.0)
                hu[rows, columns] = self._blend(hu[rows, columns], shape.distance(*part, build), level)
            hu = self._vessels(hu, x, y, z, lung)
        for ends, radii in anatomy.airways(z):
            tube = anatomy.capsule(x, y, z, ends=ends, radii=radii)
            hu = self._blend(hu, tube - 1.5, 10.0)
            hu = self._blend(hu, tube, -995.0)
        return hu

    def _vessels(self, hu: Array, x: Array, y: Array, z: float, lung: Array) -> Array:
        low = np.minimum(self.rods[:, 0, 2], self.rods[:, 1, 2]) - 5
        high = np.maximum(self.rods[:, 0, 2], self.rods[:, 1, 2]) + 5
        for k in np.flatnonzero((low < z) & (z < high)):
            ends = self.rods[k]
            (x0, y0), (x1, y1) = ends[:, :2].min(0) - 6, ends[:, :2].max(0) + 6
            columns, rows = _span(x[0], x0, x1), _span(y[:, 0], y0, y1)
            if columns.stop <= columns.start or rows.stop <= rows.start:
                continue
            rod = anatomy.capsule(x[:, columns], y[rows], z, ends=ends, radii=tuple(self.radii[k]))
            rod = np.maximum(rod, lung[rows, columns] - 1)
            share = _inside(rod, self.width)
            part = hu[rows, columns]
            hu[rows, columns] = np.maximum(part, part + share * (anatomy.BLOOD_HU - part))
        return hu

    def _texture(self, x: Array, y: Array, z: float, sigma_hu: float) -> Array:
        """Mottling a few mm wide, changing slowly along z."""
        step = 3.0
        rows = np.floor((y[:, 0] + z * 1.3) / step).astype(int) % 128
        columns = np.floor((x[0] - z * 0.7) / step).astype(int) % 128
        return sigma_hu * self.mottle[np.ix_(rows, columns)]

    def _head(self, hu: Array, x: Array, y: Array, z: float) -> Array:
        skull = anatomy.ellipsoid(x, y, z - 90.0, radii=(78, 96, 120))
        hu = self._blend(hu, skull - 5, 20.0)
        hu = self._blend(hu, skull, 900.0)
        hu = self._blend(hu, skull + 7, 35.0)
        return self._blend(hu, anatomy.ellipsoid(x, y + 66, z - 40.0, radii=(26, 18, 30)), -990.0)


def _span(axis: NDArray[np.float32], low: float, high: float) -> slice:
    """Indices of a rising or falling axis between two values."""
    inside = np.flatnonzero((axis >= low) & (axis <= high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _around(x: Array, y: Array, z: float, shape: Shape) -> tuple[slice, slice]:
    """Rows and columns that may hold a lesion at this height; none where it does not reach."""
    cx, cy, cz = shape.lesion.centre_mm
    reach = shape.reach_mm
    if abs(z - cz) > reach:
        return slice(0, 0), slice(0, 0)
    return _span(y[:, 0], cy - reach, cy + reach), _span(x[0], cx - reach, cx + reach)


def _noise_field(rng: np.random.Generator, spec: PhantomSpec) -> Array:
    """(4, row, column) noise of unit deviation, as grainy as a medium kernel makes it."""
    grain_px = 0.45 / spec.pixel_spacing_mm
    fields = rng.standard_normal((4, spec.size_px, spec.size_px), dtype=np.float32)
    smooth = np.stack([ndimage.gaussian_filter(f, grain_px, mode="wrap") for f in fields])
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


@lru_cache(maxsize=64)
def _vessel_tree(build: Build, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return anatomy.vessels(build, seed)


def _shapes(lesions: tuple[Lesion, ...], build: Build) -> tuple[Shape, ...]:
    return tuple(shape_of(lesion, build) for lesion in lesions)
