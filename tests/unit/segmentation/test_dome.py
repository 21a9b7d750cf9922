"""The diaphragm's top is no consolidation; a consolidation near it is one."""

import numpy as np
import pytest

from pneumoscope.segmentation.dome import domes

SIZE, STEP_MM = 96, 2.5


def scene(*, slices: int = 40, step_mm: float = STEP_MM) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Air in a chest whose floor rises to a dome; where the network believes lung (inside the chest, above the floor)."""
    z = (np.arange(slices) * step_mm)[:, None, None]
    y, x = np.ogrid[:SIZE, :SIZE]
    chest = ((x - 48) / 42) ** 2 + ((y - 48) / 34) ** 2 < 1
    floor_mm = 45 - (((x - 48) * 2) ** 2 + ((y - 48) * 2) ** 2) / 60
    solid = (z < floor_mm) | ~chest
    return np.where(solid, 45, -860).astype(np.int16) * np.ones((slices, 1, 1), np.int16), chest & ~solid, z, floor_mm


def ask(lesion: np.ndarray, lungs: np.ndarray, hu: np.ndarray, *, step_mm: float = STEP_MM) -> np.ndarray:
    slices = len(hu)
    return domes(
        lesion,
        lungs=lungs,
        hu=hu,
        positions_mm=np.arange(slices) * step_mm,
        voxel_mm3=np.full(slices, 4.0 * step_mm),
    )


def ball(hu: np.ndarray, centre: tuple[float, float, float], radius_mm: float, *, step_mm: float = STEP_MM) -> np.ndarray:
    z, y, x = np.ogrid[: len(hu), :SIZE, :SIZE]
    far = ((z - centre[0]) * step_mm) ** 2 + ((y - centre[1]) * 2.0) ** 2 + ((x - centre[2]) * 2.0) ** 2
    return far < radius_mm**2


@pytest.mark.parametrize("step_mm", [1.0, 2.5, 5.0])
def test_the_top_of_the_dome_taken_for_lesion(step_mm: float) -> None:
    hu, lungs, z, floor_mm = scene(slices=round(100 / step_mm), step_mm=step_mm)
    cap = (z < floor_mm) & (z > 30)
    found = ask(cap, lungs | cap, hu, step_mm=step_mm)
    assert found[cap].all()
    assert not found[lungs & ~cap].any()


def test_half_of_the_top_taken_for_lesion_is_the_whole_top() -> None:
    hu, lungs, z, floor_mm = scene()
    cap = (z < floor_mm) & (z > 30)
    half = cap.copy()
    half[:, :, 48:] = False
    found = ask(half, lungs | half, hu)
    assert found[cap].all()
    assert not found[lungs & ~cap].any()


def test_a_low_bulge_of_the_floor_beside_a_higher_organ() -> None:
    hu, lungs, z, _ = scene()
    organ = (z < 70) & (np.arange(SIZE) < 50) & (lungs | (hu > 0))
    hu[(z < 40) | organ] = 45
    lungs &= (z >= 40) & ~organ
    bulge = ball(hu, (14, 48, 53), 14) & lungs
    hu[bulge] = 45
    assert ask(bulge, lungs, hu)[bulge].all()


def test_a_consolidation_that_floats_in_the_lung() -> None:
    hu, lungs, *_ = scene()
    lesion = ball(hu, (28, 48, 40), 14)
    hu[lesion] = 30
    assert not ask(lesion, lungs, hu).any()


def test_a_consolidation_on_the_wall_at_the_base() -> None:
    hu, lungs, *_ = scene()
    lesion = ball(hu, (8, 78, 48), 22) & lungs
    hu[lesion] = 30
    assert lesion.sum() * 10 / 1000 > 2
    assert not ask(lesion, lungs, hu).any()


def test_ground_glass_over_the_dome() -> None:
    hu, lungs, z, floor_mm = scene()
    lesion = lungs & (z < floor_mm + 12) & (z > 30)
    hu[lesion] = -600
    assert not ask(lesion, lungs, hu).any()


def test_nothing_is_judged_where_the_scan_ends_below() -> None:
    hu, lungs, z, floor_mm = scene()
    cap = (z < floor_mm) & (z > 30)
    first = int(np.flatnonzero(cap.any(axis=(1, 2)))[0])
    assert not ask(cap[first:], (lungs | cap)[first:], hu[first:]).any()


def test_a_whole_lobe_on_the_diaphragm_stays() -> None:
    hu, lungs, z, _ = scene()
    lesion = lungs & (z < 80)
    hu[lesion] = 30
    assert not ask(lesion, lungs, hu).any()


def test_no_lesion_no_dome() -> None:
    hu, lungs, *_ = scene()
    assert not ask(np.zeros_like(lungs), lungs, hu).any()
