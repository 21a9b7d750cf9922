"""Masks to measures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope.codes import severity
from pneumoscope.findings import key_slices, measure, severity_points, slice_share, zone_of_slice
from pneumoscope.geometry import intervals_mm
from pneumoscope.records import ZONES, Lung, Masks, Reading, Region
from support import tiny_reading

READING = tiny_reading(slices=30, size=64)


def shares(reading: Reading) -> dict[Region, float]:
    return {finding.region: finding.share for finding in measure(reading.volume, reading.masks)}


def test_measures_agree_with_an_independent_count() -> None:
    for ours, counted in zip(measure(READING.volume, READING.masks), READING.findings, strict=True):
        assert ours.region is counted.region
        if ours.region not in ZONES:
            assert ours.volume_ml == pytest.approx(counted.volume_ml)
            assert ours.ground_glass_ml == pytest.approx(counted.ground_glass_ml)
            assert ours.consolidation_ml == pytest.approx(counted.consolidation_ml)
            assert ours.mean_hu == pytest.approx(counted.mean_hu)


def test_uneven_slices_count_by_their_interval() -> None:
    positions = READING.volume.positions_mm.copy()
    positions[15:] += 40.0
    stretched = replace(READING.volume, positions_mm=positions, intervals_mm=intervals_mm(positions))
    before, after = (measure(volume, READING.masks)[0].volume_ml for volume in (READING.volume, stretched))
    per_mm = before / (READING.volume.intervals_mm[0] * 27)
    assert after - before == pytest.approx(40.0 * per_mm, rel=0.05)


def test_zones_are_thirds_of_each_lungs_height() -> None:
    zones = zone_of_slice(READING.volume, READING.masks, Lung.RIGHT)
    inside = zones[zones >= 0]
    assert list(inside) == sorted(inside)
    assert np.allclose(np.bincount(inside), len(inside) / 3, atol=1)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_zones_add_up_to_lungs_and_lungs_to_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lesions = np.where(READING.masks.lungs > 0, rng.integers(0, 3, READING.masks.lungs.shape), 0).astype(np.uint8)
    found = {f.region: f for f in measure(READING.volume, replace(READING.masks, lesions=lesions))}
    for side in ("right", "left"):
        parts = [found[Region(f"{side}_{zone}_zone")] for zone in ("upper", "middle", "lower")]
        assert sum(p.volume_ml for p in parts) == pytest.approx(found[Region(f"{side}_lung")].volume_ml)
        assert sum(p.lesion_ml for p in parts) == pytest.approx(found[Region(f"{side}_lung")].lesion_ml)
    both = found[Region.RIGHT_LUNG].lesion_ml + found[Region.LEFT_LUNG].lesion_ml
    assert found[Region.LUNGS].lesion_ml == pytest.approx(both)
    assert all(0 <= f.share <= 1 for f in found.values())


def test_mirrored_masks_swap_right_and_left() -> None:
    lungs = np.choose(READING.masks.lungs[:, :, ::-1], [0, 2, 1]).astype(np.uint8)
    mirrored = replace(READING, masks=replace(READING.masks, lungs=lungs, lesions=READING.masks.lesions[:, :, ::-1]))
    plain, other = shares(READING), shares(mirrored)
    for region in Region:
        twin = region.value.replace("right", "x").replace("left", "right").replace("x", "left")
        assert plain[region] == pytest.approx(other[Region(twin)])


@pytest.mark.parametrize(
    ("share", "points"),
    [(0.0, 0), (0.0499, 0), (0.05, 1), (0.2499, 1), (0.25, 2), (0.4999, 2), (0.5, 3), (0.7499, 3), (0.75, 4), (1.0, 4)],
)
def test_severity_bands_begin_where_they_say(share: float, points: int) -> None:
    assert severity(share)[0] == points


def test_severity_is_the_sum_of_six_zones() -> None:
    full = replace(READING.masks, lesions=(READING.masks.lungs > 0).astype(np.uint8))
    assert severity_points(measure(READING.volume, full)) == 24
    none = replace(READING.masks, lesions=np.zeros_like(READING.masks.lungs))
    assert severity_points(measure(READING.volume, none)) == 0


def test_uncertainty_is_what_half_a_pixel_adds() -> None:
    """A disc of radius r gains 2 pi r times half a pixel in every slice."""
    size, radius = 201, 60
    y, x = np.ogrid[:size, :size]
    disc = ((x - 100) ** 2 + (y - 100) ** 2 < radius**2).astype(np.uint8)
    reading = tiny_reading(slices=12, size=size)
    stack = np.repeat(disc[None], 12, axis=0)
    masks = Masks(lungs=stack, lesions=stack, confidence=np.ones(12))
    finding = measure(reading.volume, masks)[0]
    expected = 2 * np.pi * radius * 0.5 * reading.volume.voxel_ml.sum()
    assert finding.lesion_uncertainty_ml == pytest.approx(expected, rel=0.05)


def test_key_slices_are_the_most_involved_and_lie_apart() -> None:
    keys = key_slices(READING.volume, READING.masks)
    areas = [key.lesion_area_mm2 for key in keys]
    assert areas == sorted(areas, reverse=True)
    most = max(np.count_nonzero(READING.masks.lesions, axis=(1, 2)))
    assert areas[0] == pytest.approx(most * np.prod(READING.volume.PixelSpacing))
    heights = sorted(READING.volume.positions_mm[key.index] for key in keys)
    assert min(np.diff(heights)) >= 12.0
    assert keys[0].share == pytest.approx(slice_share(READING.masks)[keys[0].index])


def test_without_lesions_key_slices_show_the_lungs() -> None:
    clean = tiny_reading(lesions=False)
    assert len(key_slices(clean.volume, clean.masks)) == 3
