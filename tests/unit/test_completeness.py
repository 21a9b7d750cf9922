"""When a study is complete, by what is known of its sender and its images."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_maker import make_enhanced, make_slice
from pneumoscope.config import Arrival
from pneumoscope.filing.completeness import due_in_s, is_whole
from pneumoscope.intake.headers import read_header
from pneumoscope.records import Instance
from pneumoscope.store.studies import Arriving

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Arrival(settle_s=0.5, quiet_s=20, expectation_wait_s=120)
STUDY = Arriving(
    StudyInstanceUID="1.2",
    revision=1,
    priority=3,
    last_image_at=MOMENT,
    longest_pause_s=0.0,
    open_arrivals=0,
    images=300,
    expected_images=None,
    expectation_source="",
)


def due(study: Arriving, *, whole: bool, since_s: float = 0.0) -> float:
    return due_in_s(study, whole=whole, since_s=since_s, settings=SETTINGS)


def test_a_whole_series_settles_for_half_a_second_and_anything_else_for_the_quiet_period() -> None:
    assert due(STUDY, whole=True, since_s=0.2) == pytest.approx(0.3)
    assert due(STUDY, whole=True, since_s=0.5) == 0
    assert due(STUDY, whole=False, since_s=0.5) == pytest.approx(19.5)
    assert due(STUDY, whole=False, since_s=20) == 0


def test_a_sender_that_opens_an_association_for_each_image_is_given_time() -> None:
    slow = replace(STUDY, longest_pause_s=1.5)
    assert due(slow, whole=True, since_s=5.9) > 0
    assert due(slow, whole=True, since_s=6.0) == 0
    assert due(replace(STUDY, longest_pause_s=3600), whole=True, since_s=20) == 0  # never longer than the quiet period


def test_what_is_told_of_the_number_of_images_goes_before_guesses() -> None:
    assert due(replace(STUDY, expected_images=300, expectation_source="mpps"), whole=False, since_s=0) == 0
    assert due(replace(STUDY, expected_images=300, expectation_source="pacs"), whole=False, since_s=0) == pytest.approx(20)
    assert due(replace(STUDY, expected_images=301), whole=True, since_s=60) == pytest.approx(60)
    assert due(replace(STUDY, expected_images=301), whole=True, since_s=120) == 0


@given(
    images=st.integers(1, 1000),
    expected=st.none() | st.integers(1, 1000),
    pause_s=st.floats(0, 1000),
    since_s=st.floats(0, 10_000),
    whole=st.booleans(),
)
def test_never_while_a_sender_is_at_it(images: int, expected: int | None, pause_s: float, since_s: float, whole: bool) -> None:
    state = replace(STUDY, images=images, expected_images=expected, longest_pause_s=pause_s, open_arrivals=1)
    assert due(state, whole=whole, since_s=since_s) == float("inf")


@given(
    images=st.integers(1, 1000),
    expected=st.integers(1, 1000),
    whole=st.booleans(),
    since_s=st.floats(0, 500),
    source=st.sampled_from(["mpps", "ian"]),
)
def test_a_known_number_of_images_decides(images: int, expected: int, whole: bool, since_s: float, source: str) -> None:
    state = replace(STUDY, images=images, expected_images=expected, expectation_source=source)
    found = due(state, whole=whole, since_s=since_s)
    assert found == (0 if images >= expected else pytest.approx(max(0.0, 120 - since_s)))


@given(pause_s=st.floats(0, 100), since_s=st.floats(0, 100))
def test_a_slow_sender_is_waited_for(pause_s: float, since_s: float) -> None:
    state = replace(STUDY, longest_pause_s=pause_s)
    whole, ragged = due(state, whole=True, since_s=since_s), due(state, whole=False, since_s=since_s)
    assert whole <= ragged == pytest.approx(max(0.0, 20 - since_s))
    assert whole == pytest.approx(max(0.0, min(20, max(0.5, 4 * pause_s)) - since_s))


def instances(count: int, **elements: object) -> list[Instance]:
    return [
        Instance(
            path=Path("x"),
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            SOPInstanceUID=f"1.2.{k + 1}",
            SeriesInstanceUID="1.2",
            TransferSyntaxUID="1.2.840.10008.1.2.1",
            Modality="CT",
            ImageType=("ORIGINAL", "PRIMARY", "AXIAL"),
            InstanceNumber=k + 1,
            ImagePositionPatient=(0.0, 0.0, 5.0 * k),
            ImageOrientationPatient=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            PixelSpacing=(0.7, 0.7),
            Rows=512,
            Columns=512,
            RescaleSlope=1.0,
            RescaleIntercept=-1024.0,
            SliceThickness=5.0,
            **elements,
        )
        for k in range(count)
    ]


@given(order=st.permutations(range(24)))
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    found = instances(24)
    assert is_whole([found[k] for k in order])


@given(order=st.permutations(range(24)), missing=st.sets(st.integers(1, 22), min_size=1, max_size=3))
def test_a_series_with_holes_is_not_whole_in_any_order(order: list[int], missing: set[int]) -> None:
    found = instances(24)
    assert not is_whole([found[k] for k in order if k not in missing])


@given(order=st.permutations(range(40)))
def test_every_other_slice_is_not_whole_though_it_looks_so(order: list[int]) -> None:
    found = instances(40)
    assert not is_whole([found[k] for k in order if k % 2 == 0])


def test_a_series_that_comes_last_slice_first_is_not_whole_until_the_first_is_there() -> None:
    found = instances(40)
    assert not is_whole(found[12:])
    assert is_whole(found)


def test_series_without_numbers_or_with_doubled_ones_go_by_their_positions() -> None:
    assert is_whole([replace(one, InstanceNumber=None) for one in instances(24)])
    assert is_whole([replace(one, InstanceNumber=1) for one in instances(24)])
    assert not is_whole([]) and not is_whole(instances(4))


def test_enhanced_ct_is_whole_by_its_frames(tmp_path: Path) -> None:
    path = make_enhanced([make_slice(k) for k in range(24)], tmp_path / "enhanced.dcm")
    assert is_whole(list(read_header(path).instances))
