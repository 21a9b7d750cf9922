"""Gates of a roll-out: each reason by itself, whatever is hidden."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from pneumoscope.fleet.gates import Evidence, Rules, Standing, judge, outcome
from pneumoscope.fleet.shares import Share, Span, chance_of_so_many, jeffreys

RULES = Rules(
    hours=24, sites_share=0.8, pairs=50, readings=50, answers=10, failed_share=0.05, same_share=0.8, difference=0.1,
    agreement=0.7, refused_sites_share=0.2,
)  # fmt: skip


def exactly(number: int) -> Span:
    return Span(least=number, most=number)


GOOD = Evidence(
    live=False, hours=30, sites=10, there=9, read=exactly(200), failed=exactly(2), pairs=exactly(200), same=exactly(190),
    difference=0.02, answers=exactly(40), agreed=exactly(36),
)  # fmt: skip


def test_what_is_good_opens_in_both_phases() -> None:
    assert outcome(judge(GOOD, RULES)) is Standing.GOOD
    assert outcome(judge(replace(GOOD, live=True), RULES)) is Standing.GOOD


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({"hours": 3.0}, "time"),
        ({"there": 7}, "sites"),
        ({"pairs": exactly(20), "same": exactly(19)}, "pairs"),
        ({"difference": None}, "scores"),
        ({"live": True, "read": exactly(20)}, "readings"),
        ({"live": True, "answers": exactly(3), "agreed": exactly(3)}, "agreement"),
    ],
)
def test_what_is_missing_is_waited_for(change: dict[str, object], title: str) -> None:
    findings = judge(replace(GOOD, **change), RULES)  # type: ignore[arg-type]
    assert outcome(findings) is Standing.WAITS
    assert [finding.title for finding in findings if finding.standing is Standing.WAITS] == [title]


@pytest.mark.parametrize(
    ("change", "title", "back"),
    [
        ({"failed": exactly(40)}, "failures", True),
        ({"same": exactly(120)}, "same category", False),
        ({"difference": -0.2}, "scores", False),
        ({"refused": 3}, "refusals", False),
        ({"live": True, "agreed": exactly(15)}, "agreement", True),
        ({"live": True, "grave": 1}, "alarms of the model", True),
        ({"notable": 2}, "alarms of drift", False),
    ],
)
def test_what_is_wrong_breaks_and_says_why(change: dict[str, object], title: str, back: bool) -> None:
    findings = judge(replace(GOOD, **change), RULES)  # type: ignore[arg-type]
    assert outcome(findings) is Standing.BROKEN
    (broken,) = [finding for finding in findings if finding.standing is Standing.BROKEN]
    assert (broken.title, broken.back) == (title, back)
    assert broken.text


def test_alarms_that_chance_brings_break_nothing_in_a_large_stage() -> None:
    large = replace(GOOD, sites=4000, there=3900, hours=48, notable=25)  # 21.9 are expected
    assert outcome(judge(large, RULES)) is Standing.GOOD
    assert outcome(judge(replace(large, notable=60), RULES)) is Standing.BROKEN


def test_one_failure_of_few_is_no_break() -> None:
    few = replace(GOOD, read=exactly(3), failed=exactly(1))
    assert outcome(judge(few, RULES)) is Standing.GOOD


def test_sites_that_refuse_are_not_waited_for() -> None:
    assert outcome(judge(replace(GOOD, refused=2, there=8), RULES)) is Standing.GOOD


@given(st.integers(1, 500), st.integers(0, 500), st.floats(0.5, 0.99))
def test_intervals_are_those_of_the_beta_distribution(n: int, hits: int, level: float) -> None:
    hits = min(hits, n)
    low, high = jeffreys(hits, n, level=level)
    known = beta.interval(level, hits + 0.5, n - hits + 0.5)
    assert low == pytest.approx(0 if hits == 0 else known[0], abs=1e-9)
    assert high == pytest.approx(1 if hits == n else known[1], abs=1e-9)


@given(st.integers(5, 200), st.integers(1, 4))
def test_an_interval_of_hidden_counts_holds_that_of_each_that_may_be(n: int, true: int) -> None:
    share = Share(hits=Span(least=1, most=4), n=exactly(n))
    low, high = share.interval()
    inner = jeffreys(true, n)
    assert low <= inner[0] <= inner[1] <= high
    assert str(share.hits) == "<5"


def test_words_of_spans() -> None:
    assert [str(exactly(1200)), str(Span(least=11, most=17)), str(Share(hits=exactly(0), n=exactly(0)))] == [
        "1,200",
        "11 to 17",
        "–",
    ]
    assert chance_of_so_many(1, 0.5) == pytest.approx(0.393469, abs=1e-6)
