"""What answers to storing mean."""

import pytest
from pydicom.uid import SegmentationStorage

from pneumoscope.delivery.statuses import Tally, Verdict, judge
from pneumoscope.errors import OperatorNeeded, RetryLater


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0x0000, Verdict.STORED),
        (0x0111, Verdict.STORED),
        (0xB000, Verdict.STORED),
        (0xB007, Verdict.STORED),
        (45070, Verdict.STORED),
        (0xA700, Verdict.LATER),
        (0xA7FF, Verdict.LATER),
        (0x0110, Verdict.LATER),
        (0x0213, Verdict.LATER),
        (0xA900, Verdict.OPERATOR),
        (0xC000, Verdict.OPERATOR),
        (0x0122, Verdict.OPERATOR),
        (0x0124, Verdict.OPERATOR),
        (0xFF00, Verdict.OPERATOR),
    ],
)
def test_verdicts(status: int, verdict: Verdict) -> None:
    assert judge(status)[0] is verdict


def test_all_stored_is_no_fault() -> None:
    tally = Tally(total=2)
    tally.count(0x0000)
    tally.count(0xB000)
    tally.settle()


def test_fewer_than_sent_is_a_fault() -> None:
    tally = Tally(total=2)
    tally.count(0x0000)
    with pytest.raises(RetryLater, match="1 of 2") as fault:
        tally.settle()
    assert fault.value.code == "peer-stored-some"


def test_what_passes_is_tried_before_an_operator_is_called() -> None:
    tally = Tally(total=3)
    tally.count(0x0000)
    tally.count(0xC000)
    tally.count(0xA700)
    assert tally.hopeless
    with pytest.raises(RetryLater, match=r"0xA700 \(out of resources\) to 1, 0xC000"):
        tally.settle()


def test_kinds_not_accepted_are_named() -> None:
    tally = Tally(total=1)
    tally.count(0x0122, SegmentationStorage)
    with pytest.raises(OperatorNeeded, match="Segmentation Storage") as fault:
        tally.settle()
    assert fault.value.code == "peer-not-accepting"
