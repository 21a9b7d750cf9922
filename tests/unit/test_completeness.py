"""When a study is complete, by what is known of its sender and its images."""

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumoscope.config import Arrival
from pneumoscope.filing.completeness import due_in_s, is_whole
from pneumoscope.store.studies import Arriving
from support import tiny_reading

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
INSTANCES = [
    replace(one, RescaleSlope=1.0, RescaleIntercept=-1024.0, PixelSpacing=(1.0, 1.0)) for one in tiny_reading().volume.instances
]


def due(study: Arriving, *, whole: bool, after_s: float) -> float:
    return due_in_s(study, whole=whole, since_s=after_s, settings=SETTINGS)


def test_while_a_sender_is_at_it_nothing_is_due() -> None:
    assert due(replace(STUDY, open_arrivals=1, expected_images=300), whole=True, after_s=1000) == float("inf")


def test_a_whole_series_settles_for_half_a_second_and_anything_else_for_the_quiet_period() -> None:
    assert due(STUDY, whole=True, after_s=0.2) == pytest.approx(0.3)
    assert due(STUDY, whole=True, after_s=0.5) == 0
    assert due(STUDY, whole=False, after_s=0.5) == pytest.approx(19.5)
    assert due(STUDY, whole=False, after_s=20) == 0


def test_a_sender_that_opens_an_association_for_each_image_is_given_time() -> None:
    slow = replace(STUDY, longest_pause_s=1.5)
    assert due(slow, whole=True, after_s=5.9) > 0
    assert due(slow, whole=True, after_s=6.0) == 0
    assert due(replace(STUDY, longest_pause_s=3600), whole=True, after_s=20) == 0  # never longer than the quiet period


def test_what_is_told_of_the_number_of_images_goes_before_guesses() -> None:
    assert due(replace(STUDY, expected_images=300, expectation_source="mpps"), whole=False, after_s=0) == 0
    assert due(replace(STUDY, expected_images=300, expectation_source="pacs"), whole=False, after_s=0) == pytest.approx(20)
    assert due(replace(STUDY, expected_images=301), whole=True, after_s=60) == pytest.approx(60)
    assert due(replace(STUDY, expected_images=301), whole=True, after_s=120) == 0


@given(st.integers(0, 2**32))
def test_the_order_of_arrival_does_not_matter(seed: int) -> None:
    shuffled = INSTANCES.copy()
    random.Random(seed).shuffle(shuffled)
    assert is_whole(shuffled)


@given(st.sets(st.integers(1, len(INSTANCES) - 2), min_size=1, max_size=3))
def test_a_slice_that_is_missing_within_is_seen(missing: set[int]) -> None:
    assert not is_whole([instance for k, instance in enumerate(INSTANCES) if k not in missing])


def test_a_few_slices_are_no_series() -> None:
    assert not is_whole(INSTANCES[:5])
    assert not is_whole([])
