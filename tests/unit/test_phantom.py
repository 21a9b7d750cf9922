"""The phantom's truth is true."""

from dataclasses import replace

import numpy as np
import pytest

from pneumoscope.phantom import Kind, Lesion, LesionKind, PhantomSpec, render, true_volumes_ml
from pneumoscope.phantom.anatomy import Build
from pneumoscope.phantom.dicom import SAMPLE
from pneumoscope.phantom.lesions import shape_of

SMALL = PhantomSpec(slices=30, slice_spacing_mm=10.0, slice_thickness_mm=1.0, size_px=192, pixel_spacing_mm=2.0, noise_hu=5.0)
LESION = Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(-90.0, 45.0, 110.0), volume_ml=30.0, roughness=0.4)


@pytest.mark.parametrize("volume_ml", [1.0, 5.0, 60.0])
@pytest.mark.parametrize("centre_mm", [(-90.0, 45.0, 110.0), (70.0, 0.0, 150.0)])
def test_a_lesion_has_the_volume_asked_for(volume_ml: float, centre_mm: tuple[float, float, float]) -> None:
    lesion = replace(LESION, volume_ml=volume_ml, centre_mm=centre_mm)
    shape, build = shape_of(lesion, Build()), Build()
    step = shape.reach_mm / 60
    x, y, z = (np.arange(c - shape.reach_mm, c + shape.reach_mm, step, dtype=np.float32) for c in centre_mm)
    count = sum(np.count_nonzero(shape.distance(x[None, :], y[:, None], float(height), build) < 0) for height in z)
    assert count * step**3 / 1000 == pytest.approx(volume_ml, rel=0.02)


def test_no_room_for_a_lesion_is_said() -> None:
    with pytest.raises(ValueError, match="no room"):
        shape_of(replace(LESION, centre_mm=(0.0, -400.0, 110.0)), Build())


@pytest.mark.parametrize("spacing_mm", [2.0, 5.0])
def test_true_volumes_agree_with_counted_voxels(spacing_mm: float) -> None:
    spec = replace(SMALL, slices=round(300 / spacing_mm), slice_spacing_mm=spacing_mm, lesions=(LESION,))
    made, truth = render(spec), true_volumes_ml(spec)
    voxel_ml = spec.pixel_spacing_mm**2 * spacing_mm / 1000
    assert np.count_nonzero(made.lungs == 1) * voxel_ml == pytest.approx(truth["right"], rel=0.02)
    assert np.count_nonzero(made.lungs == 2) * voxel_ml == pytest.approx(truth["left"], rel=0.02)
    assert np.count_nonzero(made.lesions == 1) * voxel_ml == pytest.approx(30.0, rel=0.05)
    assert 4000 < truth["right"] + truth["left"] < 8000


def test_the_same_spec_gives_the_same_voxels_and_another_seed_others() -> None:
    assert np.array_equal(render(SMALL).hu, render(SMALL).hu)
    assert not np.array_equal(render(SMALL).hu, render(replace(SMALL, seed=2)).hu)


def test_a_mirrored_patient_has_right_and_left_swapped() -> None:
    plain, mirrored = render(replace(SMALL, lesions=(LESION,))), render(replace(SMALL, lesions=(LESION,), mirrored=True))
    swapped = np.choose(mirrored.lungs[:, :, ::-1], [0, 2, 1])
    assert np.array_equal(plain.lungs, swapped)
    assert np.array_equal(plain.lesions, mirrored.lesions[:, :, ::-1])


@pytest.mark.parametrize("kind", [Kind.HEAD, Kind.ABDOMEN, Kind.WATER])
def test_other_bodies_have_no_lungs(kind: Kind) -> None:
    assert not render(replace(SMALL, kind=kind)).lungs.any()


def test_the_sample_is_a_sick_chest() -> None:
    truth = true_volumes_ml(SAMPLE)
    assert truth["ground-glass"] == pytest.approx(200)
    assert truth["consolidation"] == pytest.approx(25)
