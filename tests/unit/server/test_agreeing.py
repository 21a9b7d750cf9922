"""Counts and shares of answers, by period and group."""

from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree

import pytest

from pneumoscope.server.agreeing import Period, grouped, over_time, picture, start_of, tally

START = datetime(2026, 1, 28, 12, tzinfo=UTC)  # a Wednesday


def row(judgement: str, days: int = 0, site: str = "CT1") -> dict:
    return {"judgement": judgement, "at": START + timedelta(days=days), "site": site}


def test_a_tally_counts_and_gives_wilsons_interval() -> None:
    found = tally("", [row("accept")] * 7 + [row("modify")] * 10 + [row("reject")] * 3)
    assert (found.n, found.accepted, found.modified, found.rejected, found.share) == (20, 7, 10, 3, 0.35)
    assert found.interval == pytest.approx((0.1812, 0.5671), abs=1e-4)


def test_periods_begin_on_monday_or_the_first() -> None:
    assert start_of(START, Period.WEEK) == date(2026, 1, 26)
    assert start_of(START, Period.MONTH) == date(2026, 1, 1)
    found = over_time([row("accept"), row("reject", 5), row("accept", 5)], Period.MONTH)
    assert [(each.name, each.n, each.accepted) for each in found] == [("2026-01-01", 1, 1), ("2026-02-01", 2, 1)]


def test_groups_lose_no_answer() -> None:
    rows = [row("accept", k, site) for k, site in enumerate(["A", "B", "", "A"])]
    assert [(each.name, each.n) for each in grouped(rows, lambda given: given["site"])] == [("", 1), ("A", 2), ("B", 1)]


@pytest.mark.parametrize("weeks", [1, 2, 60])
def test_the_picture_shows_every_period_within_its_frame(weeks: int) -> None:
    tallies = over_time([row("accept" if k % 3 else "reject", 7 * k) for k in range(weeks)], Period.WEEK)
    root = ElementTree.fromstring(picture(tallies, 'a "label" & more'))
    circles = list(root.iter("circle"))
    assert len(circles) == weeks
    assert all(0 < float(c.get("cx")) < 760 and 0 < float(c.get("cy")) < 240 for c in circles)
    assert root.get("aria-label") == 'a "label" & more'
    assert 2 <= sum("2026" in text.text or "2027" in text.text for text in root.iter("text")) <= 20 or weeks == 1
