"""The score, and what forbids it."""

from dataclasses import replace

import numpy as np
import pytest

from pneumoscope.classification import categorise, probability, score_study, worst_stretch
from pneumoscope.classification.guard import age_years, assess
from pneumoscope.errors import NotAChest
from pneumoscope.geometry import intervals_mm
from pneumoscope.models import load_bundle
from pneumoscope.records import Category, Masks, Notice, Reading, Scores, Volume
from pneumoscope.segmentation.evidence import Sums
from support import tiny_reading

READING = tiny_reading(slices=60, size=64)
CALIBRATION = load_bundle().calibration


def share_of(reading: Reading, step: int = 1) -> float:
    """The worst share when only every ``step``th slice was taken."""
    positions = reading.volume.positions_mm[::step]
    volume = replace(reading.volume, positions_mm=positions, intervals_mm=intervals_mm(positions))
    masks = (reading.masks.lungs, reading.masks.lesions)
    lung, lesion = (np.count_nonzero(mask[::step], axis=(1, 2)).astype(float) for mask in masks)
    return worst_stretch(volume, lung=lung, lesion=lesion).share


def scored(reading: Reading, *, lesion_evidence: float = 0.0, doubts: tuple[Notice, ...] = ()) -> Scores:
    """The score where each slice's lesions look alike."""
    lung, lesion = (np.count_nonzero(mask, axis=(1, 2)) / 64 for mask in (reading.masks.lungs, reading.masks.lesions))
    sums = Sums(lung=lung, lesion=lesion, evidence=lesion * lesion_evidence)
    return score_study(reading.volume, reading.masks, sums, calibration=CALIBRATION, doubts=doubts)


def test_more_slices_are_not_rewarded() -> None:
    assert share_of(READING, 2) == pytest.approx(share_of(READING), rel=0.1)
    assert share_of(READING, 3) == pytest.approx(share_of(READING), rel=0.15)


def test_probability_grows_with_share_and_is_never_surer_than_its_few_cases_allow() -> None:
    values = [probability(share, pattern, CALIBRATION) for pattern in (-9.0, 0.0, 9.0) for share in np.linspace(0, 1, 50)]
    assert 0 < 1 - CALIBRATION.surest <= min(values) < max(values) <= CALIBRATION.surest < 1
    values = values[50:100]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] < 1


def test_the_look_of_the_lesions_moves_the_score() -> None:
    against, neutral, for_it = (scored(READING, lesion_evidence=e).probability for e in (-2.0, 0.0, 2.0))
    assert against < neutral < for_it


def test_the_stretch_is_no_higher_than_its_window_and_holds_the_most_involved_slice() -> None:
    lung = np.full(60, 100.0)
    lesion = np.zeros(60)
    lesion[40] = 30.0
    stretch = worst_stretch(READING.volume, lung=lung, lesion=lesion)
    assert stretch.overlap_mm.sum() == pytest.approx(min(20.0, READING.volume.intervals_mm.sum()))
    assert stretch.overlap_mm[40] == pytest.approx(READING.volume.intervals_mm[40])


def test_without_lesion_the_whole_scan_is_the_stretch() -> None:
    stretch = worst_stretch(READING.volume, lung=np.full(60, 100.0), lesion=np.zeros(60))
    assert (stretch.share, list(stretch.overlap_mm)) == (0.0, list(READING.volume.intervals_mm))


def test_categories_begin_at_their_limits() -> None:
    below, above = np.nextafter(CALIBRATION.no_sign_below, 0), CALIBRATION.sign_from
    assert categorise(below, CALIBRATION) is Category.NO_SIGN
    assert categorise(CALIBRATION.no_sign_below, CALIBRATION) is Category.INDETERMINATE
    assert categorise(above, CALIBRATION) is Category.SIGN


def test_a_doubt_forbids_the_score_and_gives_its_reason() -> None:
    doubt = Notice(code="out-of-distribution", text="Because.")
    scores = scored(READING, doubts=(doubt,))
    assert (scores.probability, scores.category, scores.reason) == (None, Category.CANNOT_SAY, "Because.")


def codes(volume: Volume, masks: Masks) -> set[str]:
    assessment = assess(volume, masks)
    return {notice.code for notice in (*assessment.doubts, *assessment.warnings)}


def changed(**study: str) -> Volume:
    return replace(READING.volume, study=replace(READING.volume.study, **study))


def test_a_plain_chest_raises_nothing() -> None:
    assert codes(READING.volume, READING.masks) == set()


def test_no_lungs_is_no_chest() -> None:
    nothing = replace(READING.masks, lungs=np.zeros_like(READING.masks.lungs))
    with pytest.raises(NotAChest, match="0 ml of lung") as caught:
        assess(READING.volume, nothing)
    assert caught.value.code == "not-a-chest-ct"


def test_a_short_stretch_of_lung_is_no_chest() -> None:
    lungs = READING.masks.lungs.copy()
    lungs[15:] = 0
    with pytest.raises(NotAChest):
        assess(READING.volume, replace(READING.masks, lungs=lungs))


@pytest.mark.parametrize(
    ("age", "years"), [("012Y", 12), ("018M", 1.5), ("026W", 0.5), ("010D", 0.027), ("", None), ("12", None)]
)
def test_age_strings_are_read(age: str, years: float | None) -> None:
    assert age_years(age) == (None if years is None else pytest.approx(years, rel=0.02))


def test_a_child_is_told() -> None:
    assert codes(changed(PatientAge="012Y"), READING.masks) == {"child"}
    assert codes(changed(PatientAge="016Y"), READING.masks) == set()


def test_cut_lungs_are_told() -> None:
    cut = slice(8, 40)
    positions = READING.volume.positions_mm[cut]
    volume = replace(READING.volume, hu=READING.volume.hu[cut], positions_mm=positions, intervals_mm=intervals_mm(positions))
    masks = Masks(lungs=READING.masks.lungs[cut], lesions=READING.masks.lesions[cut], confidence=np.ones(32))
    assert codes(volume, masks) == {"incomplete-lungs"}


def test_heavy_noise_is_told() -> None:
    reading = tiny_reading(slices=60, size=128)
    noise = np.random.default_rng(0).normal(0, 1, reading.volume.hu.shape)
    levels = {sd_hu: np.clip(reading.volume.hu + sd_hu * noise, -1024, 3000).astype(np.int16) for sd_hu in (40, 150)}
    told = {sd_hu: codes(replace(reading.volume, hu=hu), reading.masks) for sd_hu, hu in levels.items()}
    assert "heavy-noise" in told[150]
    assert "heavy-noise" not in told[40]


def test_metal_is_told() -> None:
    hu = READING.volume.hu.copy()
    hu[30, 30:34, 5:9] = 3071
    assert codes(replace(READING.volume, hu=hu), READING.masks) == {"metal"}


def test_jumping_outlines_are_told() -> None:
    lungs = READING.masks.lungs.copy()
    lungs[10:50:4, :26] = 0
    positions = READING.volume.positions_mm * 0.5 * 1.6
    volume = replace(READING.volume, positions_mm=positions, intervals_mm=intervals_mm(positions))
    assert "motion" in codes(volume, replace(READING.masks, lungs=lungs))


@pytest.mark.parametrize(("level", "says"), [(-1024, "plain air"), (-200, "mean density")])
def test_lungs_of_impossible_density_are_doubted(level: int, says: str) -> None:
    hu = np.where(READING.masks.lungs > 0, level, READING.volume.hu).astype(np.int16)
    doubts = assess(replace(READING.volume, hu=hu), READING.masks).doubts
    assert any(says in doubt.text for doubt in doubts)


def test_an_unsure_network_is_doubted() -> None:
    masks = replace(READING.masks, confidence=np.full(60, 0.5))
    assert [doubt.code for doubt in assess(READING.volume, masks).doubts] == ["out-of-distribution"]
