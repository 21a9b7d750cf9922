"""Where outlines run, on pictures small enough to see."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pneumoscope.segmentation.outline import (
    MIN_DENSE_LESION_MM3,
    MIN_LESION_MM3,
    bands,
    classify_density,
    dilated,
    lesion_levels,
    lesion_outline,
    open_air,
    opened,
    support,
)

SHAPE = (6, 40, 40)
VOXEL_MM3 = np.full(6, 4.0 * 5.0)
LUNG_HU = -850


def box(rows: slice, columns: slice, slices: slice = slice(0, 6)) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[slices, rows, columns] = True
    return mask


def levels_of(lesion: NDArray[np.bool_], hu: NDArray[np.int16], lungs: NDArray[np.bool_]) -> list[float]:
    band = bands(lesion, inner=1, outer=2)
    found = lesion_levels(lesion, core=band.core, reach=band.reach, lungs=lungs, hu=hu, voxel_mm3=VOXEL_MM3)
    return [float(edge) for edge in found.edge_hu[1:]]


LUNGS = box(slice(2, 38), slice(2, 38))
GLASS = box(slice(10, 20), slice(10, 20))
HU = np.where(LUNGS, LUNG_HU, 40).astype(np.int16)


def test_the_edge_lies_half_way_between_lesion_and_lung() -> None:
    for level_hu, edge_hu in ((-600, -720), (-500, -675), (-300, -575), (20, -415)):
        assert levels_of(GLASS, np.where(GLASS, level_hu, HU).astype(np.int16), LUNGS) == [edge_hu]


def test_a_lesion_without_a_core_has_an_edge_too() -> None:
    thread = box(slice(10, 24), slice(10, 11))
    assert levels_of(thread, np.where(thread, -500, HU).astype(np.int16), LUNGS) == [-675]


def test_a_lesion_too_small_is_dropped() -> None:
    speck = box(slice(10, 12), slice(10, 11))
    assert np.count_nonzero(speck) * VOXEL_MM3[0] < MIN_LESION_MM3
    assert levels_of(speck, np.where(speck, -500, HU).astype(np.int16), LUNGS) == [np.inf]


def test_a_crossing_of_vessels_is_no_consolidation_but_ground_glass_as_small_stays() -> None:
    crossing = box(slice(10, 13), slice(10, 13), slice(0, 5))
    assert MIN_LESION_MM3 < np.count_nonzero(crossing) * VOXEL_MM3[0] < MIN_DENSE_LESION_MM3
    assert levels_of(crossing, np.where(crossing, 20, HU).astype(np.int16), LUNGS) == [np.inf]
    assert levels_of(crossing, np.where(crossing, -500, HU).astype(np.int16), LUNGS) == [-675]


def test_the_dome_of_the_diaphragm_is_no_lesion() -> None:
    lungs = LUNGS & ~box(slice(8, 22), slice(8, 22), slice(0, 2))
    sheet = box(slice(9, 21), slice(9, 21), slice(2, 3))
    hu = np.where(sheet, -450, np.where(lungs, LUNG_HU, 40)).astype(np.int16)
    assert levels_of(sheet, hu, lungs) == [np.inf]
    covered = box(slice(12, 16), slice(12, 16), slice(2, 4))  # as high as wide, but half of it right above the liver
    assert levels_of(covered, hu, lungs) == [np.inf]
    assert levels_of(box(slice(24, 28), slice(24, 28), slice(2, 4)), hu, lungs) == [-720]


def test_support_fills_hollows_and_goes_on_through_what_is_as_dense() -> None:
    hu = np.where(box(slice(8, 30), slice(8, 30)), -600, HU).astype(np.int16)
    ring = box(slice(10, 20), slice(10, 20)) & ~box(slice(13, 17), slice(13, 17))
    probability = np.where(ring, 250, 0).astype(np.uint8)
    found = support(probability, ring, lungs=LUNGS, hu=hu)
    assert found[:, 13:17, 13:17].all()
    assert found[3, 15, 25]
    assert not found[3, 15, 32]


def test_support_does_not_run_along_vessels_nor_leave_the_lungs() -> None:
    vessel = box(slice(14, 16), slice(2, 38))
    hu = np.where(GLASS | vessel, -500, HU).astype(np.int16)
    found = support(np.where(GLASS, 250, 0).astype(np.uint8), GLASS, lungs=LUNGS, hu=hu)
    assert found[GLASS].all()
    assert not (found & ~box(slice(7, 23), slice(7, 23))).any()


def test_a_faint_place_without_a_seed_is_no_support() -> None:
    probability = np.where(GLASS, 60, 0).astype(np.uint8)
    assert not support(probability, GLASS & False, lungs=LUNGS, hu=HU).any()


def test_vessels_are_cut_off_where_they_leave_a_lesion() -> None:
    lesion, vessel = GLASS[0], box(slice(14, 17), slice(2, 38))[0]
    smooth_hu = np.where(lesion | vessel, -400.0, LUNG_HU).astype(np.float32)
    edge_hu = np.full(lesion.shape, -700, dtype=np.float32)
    none = np.zeros_like(lesion)
    outlined = lesion_outline(smooth_hu, core=none, believed=none, edge_hu=edge_hu, vessel_px=3)
    assert not outlined[vessel & ~box(slice(0, 40), slice(7, 23))[0]].any()
    assert np.count_nonzero(outlined & lesion) > 0.8 * np.count_nonzero(lesion)


def test_vessels_in_ground_glass_stay_ground_glass_and_blurred_edges_of_consolidation_stay_consolidation() -> None:
    lesion, solid, vessel = (
        box(slice(5, 35), slice(5, 35))[0],
        box(slice(20, 30), slice(20, 30))[0],
        box(slice(10, 12), slice(5, 35))[0],
    )
    hu = np.where(vessel | solid, 40, -550).astype(np.float32)
    found = classify_density(hu, lesion, thin_px=2) == 2
    assert not found[~solid].any()
    assert np.count_nonzero(found) > 0.8 * np.count_nonzero(solid)
    rim = box(slice(19, 31), slice(19, 31))[0]
    found = classify_density(hu, rim, thin_px=2)
    assert np.count_nonzero(found == 2) > 0.8 * np.count_nonzero(rim) > np.count_nonzero(solid)
    assert not found[~rim].any()


def test_the_quick_morphology_is_that_of_scipy_up_to_the_edge_of_the_picture() -> None:
    chance = np.random.default_rng(0)
    for _ in range(100):
        blobs = ndimage.binary_dilation(
            chance.random(tuple(chance.integers(1, 50, 2))) > 0.8, iterations=int(chance.integers(1, 4))
        )
        for times in (1, 3):
            assert np.array_equal(opened(blobs, times), ndimage.binary_opening(blobs, iterations=times))
            assert np.array_equal(dilated(blobs, times), ndimage.binary_dilation(blobs, iterations=times))
        assert np.array_equal(~open_air(blobs), ndimage.binary_fill_holes(blobs))
