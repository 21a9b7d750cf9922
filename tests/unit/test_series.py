"""The right series: how its slices are put in order, which rules it must keep, what its pixels mean."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate

from dicom_maker import ROOT, damage, make_series, make_slice, save, slice_pixels
from pneumoscope.errors import (
    NoEligibleSeries,
)
from pneumoscope.geometry import AxialView
from pneumoscope.intake import open_input
from pneumoscope.pipeline import load_path
from pneumoscope.records import Series, SeriesVerdict
from pneumoscope.series import choose_series
from support import refusal


def choose(path: Path) -> tuple[Series, tuple[SeriesVerdict, ...]]:
    with open_input(path) as found:
        return choose_series(found.instances, found.studies)


# -- order and doubles


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_order_and_any_names_give_the_same_volume(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    slices = [make_slice(k, step_mm=8.0, InstanceNumber=rng.randrange(1000)) for k in range(14)]
    rng.shuffle(slices)
    folder = tmp_path / str(seed)
    for ds in slices:
        save(ds, folder / f"{rng.randrange(10**9)}")
    volume, verdicts = load_path(folder)
    assert list(volume.positions_mm) == [8.0 * k for k in range(14)]
    assert [int(v) for v in volume.hu[:, 64, 64]] == [8 * k for k in range(14)]
    assert [verdict.code for verdict in verdicts] == ["chosen"]


def test_exact_copies_are_one_slice_without_a_word(tmp_path: Path) -> None:
    make_series(tmp_path / "a")
    make_series(tmp_path / "b")
    volume, _ = load_path(tmp_path)
    assert (len(volume.hu), volume.notices) == (24, ())


def test_doubled_position_with_other_pixels_is_told(tmp_path: Path) -> None:
    make_series(tmp_path)
    other = make_slice(5, SOPInstanceUID=f"{ROOT}.5.5", InstanceNumber=500)
    other.PixelData = np.full((128, 128), 7, "<i2").tobytes()
    save(other, tmp_path / "0")
    volume, _ = load_path(tmp_path)
    assert [notice.code for notice in volume.notices] == ["doubled-slices"]
    assert volume.hu[5, 64, 64] == 25  # the one with the lower instance number


def test_two_acquisitions_in_one_series_are_two_stacks(tmp_path: Path) -> None:
    make_series(tmp_path / "a", slices=24)
    for k in range(20):
        save(make_slice(k, SOPInstanceUID=f"{ROOT}.7.{k}", AcquisitionNumber=2), tmp_path / "b" / str(k))
    series, verdicts = choose(tmp_path)
    assert len(series.instances) == 24
    assert sorted(verdict.code for verdict in verdicts) == ["chosen", "not-best"]


def test_gaps_become_longer_intervals_and_are_told(tmp_path: Path) -> None:
    for file in make_series(tmp_path)[10:12]:
        file.unlink()
    volume, _ = load_path(tmp_path)
    assert [notice.code for notice in volume.notices] == ["missing-slices"]
    assert volume.intervals_mm.sum() == pytest.approx(24 * 5.0)
    assert volume.intervals_mm.max() == pytest.approx(10.0)


def test_undecodable_slice_is_left_out_and_told_but_not_two(tmp_path: Path) -> None:
    files = make_series(tmp_path, slices=60, step_mm=3.0)
    damage(files[30], keep=0.8)
    volume, _ = load_path(tmp_path)
    assert (len(volume.hu), [notice.code for notice in volume.notices]) == (59, ["undecodable-slices"])
    damage(files[31], keep=0.8)
    assert refusal(tmp_path).code == "undecodable-slices"


# -- the rules


@pytest.mark.parametrize(
    ("code", "slices", "elements"),
    [
        ("not-ct", 24, {"Modality": "MR"}),
        ("not-ct-image", 24, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}),
        ("localizer", 24, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("no-pixels", 24, {"PixelData": None}),
        ("colour", 24, {"SamplesPerPixel": 3}),
        ("derived-view", 24, {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}),
        ("no-rescale", 24, {"RescaleIntercept": None}),
        ("other-unit", 24, {"RescaleType": "MGML"}),
        ("no-position", 24, {"ImagePositionPatient": None}),
        ("no-pixel-spacing", 24, {"PixelSpacing": None}),
        ("too-large", 24, {"Rows": 16384, "Columns": 16384}),
        ("not-axial", 24, {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}),
        ("too-few-slices", 1, {}),
        ("too-few-slices", 9, {"step_mm": 10.0}),
        ("too-short", 20, {"step_mm": 2.0}),
        ("too-thick", 24, {"SliceThickness": 12.0}),
    ],
)
def test_each_rule_refuses_with_its_code(tmp_path: Path, code: str, slices: int, elements: dict) -> None:
    make_series(tmp_path, slices=slices, **elements)
    fault = refusal(tmp_path)
    assert isinstance(fault, NoEligibleSeries)
    assert fault.code == code


def test_tilt_is_refused(tmp_path: Path) -> None:
    for k in range(24):
        save(make_slice(k, ImagePositionPatient=[-175.0, -175.0 + 1.0 * k, 5.0 * k]), tmp_path / str(k))
    assert refusal(tmp_path).code == "tilted"


def test_long_gap_and_many_missing_are_refused(tmp_path: Path) -> None:
    files = make_series(tmp_path / "gap", slices=40)
    for file in files[10:15]:
        file.unlink()
    assert refusal(tmp_path / "gap").code == "gap"
    files = make_series(tmp_path / "many", slices=40)
    for file in files[3:40:5]:
        file.unlink()
    assert refusal(tmp_path / "many").code == "too-many-missing"


def test_lossy_jpeg_is_not_hu(tmp_path: Path) -> None:
    for k in range(24):
        ds = make_slice(k)
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
        ds.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        save(ds, tmp_path / str(k))
    fault = refusal(tmp_path)
    assert fault.code == "lossy-jpeg"
    assert "not HU" in str(fault)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"ConvolutionKernel": "B70f"}),
        ({"SliceThickness": 2.0}, {"SliceThickness": 6.0}),
        ({}, {"ContrastBolusAgent": "OMNIPAQUE"}),
        ({}, {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}),
        ({"slices": 50}, {"slices": 25}),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_better_series_is_chosen_and_the_other_told_why(tmp_path: Path, better: dict, worse: dict, first: bool) -> None:
    make_series(tmp_path / "a", series="1" if first else "2", **better)
    make_series(tmp_path / "b", series="2" if first else "1", **worse)
    make_series(tmp_path / "c", series="3", slices=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    series, verdicts = choose(tmp_path)
    assert series.first.SeriesNumber == (1 if first else 2)
    assert sorted(verdict.code for verdict in verdicts) == ["chosen", "localizer", "not-best"]
    assert all(verdict.reason for verdict in verdicts)


def test_another_study_is_told_not_mixed(tmp_path: Path) -> None:
    make_series(tmp_path / "a", study="1", slices=40)
    make_series(tmp_path / "b", study="2", slices=24)
    _, verdicts = choose(tmp_path)
    assert {verdict.code for verdict in verdicts} == {"chosen", "other-study"}


@pytest.mark.parametrize(("elements", "code"), [({"ContrastBolusAgent": "X"}, "contrast"), ({"step_mm": 7.0}, "thick-slices")])
def test_notices_of_the_chosen_series(tmp_path: Path, elements: dict, code: str) -> None:
    make_series(tmp_path, **elements)
    assert [notice.code for notice in load_path(tmp_path)[0].notices] == [code]


# -- pixels to HU


@pytest.mark.parametrize("padding", [-3024, -2048])
def test_padding_is_air(tmp_path: Path, padding: int) -> None:
    for k in range(24):
        ds = make_slice(k)
        pixels = slice_pixels(5.0 * k)
        pixels[:10] = padding
        ds.PixelData = pixels.astype("<i2").tobytes()
        save(ds, tmp_path / str(k))
    assert load_path(tmp_path)[0].hu.min() == -1024


def test_signed_unsigned_twelve_bits_and_rescale_per_slice_give_the_same_hu(tmp_path: Path) -> None:
    make_series(tmp_path / "signed")
    for k in range(24):
        hu = slice_pixels(5.0 * k)
        twelve = ((hu + 1024).astype("<u2") & 0x0FFF) | 0xA000  # garbage above BitsStored
        elements = {"PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11, "RescaleIntercept": -1024}
        save(make_slice(k, PixelData=twelve.astype("<u2").tobytes(), **elements), tmp_path / "twelve" / str(k))
        intercept = -1024 - k
        shifted = (hu - intercept).astype("<u2")
        elements = {"PixelRepresentation": 0, "RescaleIntercept": intercept}
        save(make_slice(k, PixelData=shifted.tobytes(), **elements), tmp_path / "per_slice" / str(k))
    expected = load_path(tmp_path / "signed")[0].hu
    assert np.array_equal(load_path(tmp_path / "twelve")[0].hu, expected)
    assert np.array_equal(load_path(tmp_path / "per_slice")[0].hu, expected)


def test_pixel_padding_value_is_air(tmp_path: Path) -> None:
    for k in range(24):
        pixels = slice_pixels(5.0 * k)
        pixels[:10] = 30000
        save(make_slice(k, PixelPaddingValue=30000, PixelData=pixels.astype("<i2").tobytes()), tmp_path / str(k))
    assert (load_path(tmp_path)[0].hu[:, :10] == -1024).all()


@pytest.mark.parametrize(
    "orientation", [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, -1, 0], [1, 0, 0, 0, -1, 0], [-1, 0, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0]]
)
def test_every_orientation_turns_to_back_and_left(orientation: list[int]) -> None:
    """A mark at the patient's left front is at the last column and the first row, however the slice is stored."""
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    stored = np.zeros((8, 8))
    for row in range(8):
        for column in range(8):
            x, y, _ = (column - 3.5) * along_row + (row - 3.5) * along_column
            stored[row, column] = 10 * (x + 3.5) - (y + 3.5)
    view = AxialView.from_orientation(tuple(orientation))
    turned = view.apply(stored)
    assert np.unravel_index(turned.argmax(), turned.shape) == (0, 7)
    assert np.array_equal(view.undo(turned), stored)
