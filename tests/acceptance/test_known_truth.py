"""Volumes against phantoms whose truth is known, from thin slices to thick ones, read from files."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pneumoscope.models import load_bundle
from pneumoscope.phantom import Lesion, LesionKind, Order, PhantomSpec, render, true_volumes_ml, write_dicom
from pneumoscope.pipeline import read_path
from pneumoscope.records import GROUND_GLASS_LABEL, Reading, Region

pytestmark = pytest.mark.soak

GLASS, SOLID = LesionKind.GROUND_GLASS, LesionKind.CONSOLIDATION
LESIONS = (
    Lesion(kind=GLASS, centre_mm=(-85.0, 50.0, 110.0), volume_ml=20.0, seed=1),
    Lesion(kind=GLASS, centre_mm=(80.0, 40.0, 170.0), volume_ml=5.0, seed=2),
    Lesion(kind=SOLID, centre_mm=(80.0, 50.0, 90.0), volume_ml=10.0, seed=3),
    Lesion(kind=SOLID, centre_mm=(-80.0, 40.0, 190.0), volume_ml=5.0, seed=4),
)
#: Spacing, pixels a side and their spacing, all in mm.
GRIDS = [(mm, 320, 1.15) for mm in (0.5, 1.5, 3.0, 5.0)]


def lesion_mask_around(reading: Reading, spec: PhantomSpec, lesion: Lesion) -> np.ndarray:
    """Voxels found within twice the radius of a ball of the lesion's volume."""
    reach_mm = 2 * (lesion.volume_ml * 750 / np.pi) ** (1 / 3)
    axis_mm = (np.arange(spec.size_px) - (spec.size_px - 1) / 2) * spec.pixel_spacing_mm
    axes = (reading.volume.positions_mm, axis_mm, axis_mm)
    near = [np.abs(axis - centre) < reach_mm for axis, centre in zip(axes, lesion.centre_mm[::-1], strict=True)]
    return reading.masks.lesions[np.ix_(*near)]


@pytest.mark.parametrize(("spacing_mm", "size_px", "pixel_mm"), GRIDS, ids=str)
def test_volumes_are_true(tmp_path: Path, spacing_mm: float, size_px: int, pixel_mm: float) -> None:
    spec = PhantomSpec(
        slices=round(300 / spacing_mm),
        slice_spacing_mm=spacing_mm,
        size_px=size_px,
        pixel_spacing_mm=pixel_mm,
        lesions=LESIONS,
        seed=65,
    )
    write_dicom(render(spec), tmp_path, order=Order.SHUFFLED)
    reading, truth = read_path(tmp_path, load_bundle()), true_volumes_ml(spec)
    assert reading.finding(Region.RIGHT_LUNG).volume_ml == pytest.approx(truth["right"], rel=0.05)
    assert reading.finding(Region.LEFT_LUNG).volume_ml == pytest.approx(truth["left"], rel=0.05)
    lungs = reading.finding(Region.LUNGS)
    assert lungs.lesion_ml == pytest.approx(40.0, rel=0.05)
    assert lungs.ground_glass_ml == pytest.approx(25.0, rel=0.05)
    assert lungs.consolidation_ml == pytest.approx(15.0, rel=0.05)
    for lesion in LESIONS:
        found = lesion_mask_around(reading, spec, lesion)
        voxels = np.count_nonzero(found)
        assert voxels * reading.volume.voxel_ml[0] == pytest.approx(lesion.volume_ml, rel=0.1), lesion
        as_glass = np.count_nonzero(found == GROUND_GLASS_LABEL) / voxels
        assert as_glass > 0.9 if lesion.kind is GLASS else as_glass < 0.2, lesion


def test_pixels_need_not_be_square(tmp_path: Path) -> None:
    spec = PhantomSpec(slices=60, slice_spacing_mm=5.0, size_px=320, pixel_spacing_mm=1.15, lesions=LESIONS[:1], seed=65)
    write_dicom(render(spec), tmp_path)
    for path in tmp_path.iterdir():
        ds = dcmread(path)
        ds.PixelData = ds.pixel_array[::2].tobytes()
        ds.Rows, ds.PixelSpacing = ds.Rows // 2, [2 * spec.pixel_spacing_mm, spec.pixel_spacing_mm]
        ds.save_as(path)
    reading, truth = read_path(tmp_path, load_bundle()), true_volumes_ml(spec)
    assert reading.finding(Region.LUNGS).volume_ml == pytest.approx(truth["right"] + truth["left"], rel=0.05)
    assert reading.finding(Region.LUNGS).lesion_ml == pytest.approx(20.0, rel=0.1)
