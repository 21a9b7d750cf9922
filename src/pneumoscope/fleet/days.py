"""Readings as the watches take them: batch by batch (a day each), from a site's own observations or from windows at the hub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from pneumoscope.fleet.evidence import Floats
from pneumoscope.fleet.groups import GROUPS, groups_of
from pneumoscope.fleet.messages import EDGES, WORDS, Answer

#: Numbers and words of the input that are watched.
NUMBERS = ("thickness_mm", "noise_hu", "age_years", "lung_volume_l", "dose_mas")
KINDS_OF_WORDS = ("manufacturer", "kernel", "sex")


@dataclass(frozen=True)
class Observed:
    """One reading by the model in service, with what people said of the study, where they did."""

    at: datetime
    outcome: str = "read"  # read, refused, failed
    code: str = ""
    probability: float | None = None
    category: str = ""  # as in messages.Answer
    wait_s: float | None = None
    reading_s: float | None = None
    features: Mapping[str, float | str] = field(default_factory=dict)
    answer: str = ""  # of people, as in messages.Answer; empty: none
    agreed: bool | None = None  # where people said so; None: by comparing their answer


@dataclass
class Values:
    """Values of a batch, each ``weights`` times: single readings, or bins of a histogram."""

    values: Floats
    weights: Floats


@dataclass
class Share:
    """``hits`` of ``n``."""

    hits: float = 0.0
    n: float = 0.0

    def add(self, hit: bool | None) -> None:
        """One more; None: nothing is known of it."""
        if hit is not None:
            self.hits, self.n = self.hits + hit, self.n + 1


@dataclass
class Day:
    """What the watches need of a batch."""

    start: datetime
    readings: float = 0.0
    numbers: dict[str, Values] = field(default_factory=dict)  # "score" and NUMBERS
    words: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: Share = field(default_factory=Share)
    refused: Share = field(default_factory=Share)
    codes: dict[str, float] = field(default_factory=dict)  # of refusals
    disagreed: Share = field(default_factory=Share)
    late: Share = field(default_factory=Share)
    waits_s: Floats = field(default_factory=lambda: np.empty(0))
    judged: list[tuple[float, bool]] = field(default_factory=list)  # probability, whether people saw signs
    signs: dict[str, Share] = field(default_factory=dict)  # by subgroup, and "" for all
    group_disagreed: dict[str, Share] = field(default_factory=dict)


def word_of(kind: str, word: float | str | None) -> str:
    """As it is counted: one of ``WORDS``, "other", "unknown"."""
    if word in (None, ""):
        return "unknown"
    return str(word) if word in WORDS[kind] else "other"


def days_of(rows: Sequence[Observed], *, late_s: float, batch_s: float) -> list[Day]:
    """Batches of whole multiples of ``batch_s`` since 1970; those without a reading are left out."""
    by_batch: dict[float, list[Observed]] = {}
    for row in rows:
        by_batch.setdefault(row.at.timestamp() // batch_s, []).append(row)
    return [_day(datetime.fromtimestamp(key * batch_s, tz=UTC), by_batch[key], late_s) for key in sorted(by_batch)]


def _values(found: Sequence[float | str | None]) -> Values:
    values = np.array(sorted(value for value in found if isinstance(value, int | float)), dtype=float)
    return Values(values, np.ones(len(values)))


def _disagrees(row: Observed) -> bool | None:
    if row.agreed is not None:
        return not row.agreed
    if not row.answer or not row.category:
        return None
    return row.answer != row.category


def _share(found: Sequence[bool | None]) -> Share:
    told = [hit for hit in found if hit is not None]
    return Share(sum(told), len(told))


def _day(start: datetime, rows: Sequence[Observed], late_s: float) -> Day:
    read = [row for row in rows if row.outcome == "read"]
    waits = np.array([row.wait_s for row in rows if row.wait_s is not None], dtype=float)
    day = Day(start, len(rows), waits_s=waits, late=Share(float((waits > late_s).sum()), len(waits)))
    day.numbers = {name: _values([row.features.get(name) for row in rows]) for name in NUMBERS}
    day.numbers["score"] = _values([row.probability for row in read])
    for kind in KINDS_OF_WORDS:
        counts = day.words.setdefault(kind, {})
        for row in rows:
            word = word_of(kind, row.features.get(kind))
            counts[word] = counts.get(word, 0) + 1
    day.failed = _share([row.outcome == "failed" for row in rows])
    day.refused = _share([row.outcome == "refused" for row in rows])
    for row in rows:
        if row.outcome == "refused":
            day.codes[row.code] = day.codes.get(row.code, 0) + 1
    day.disagreed = _share([_disagrees(row) for row in read])
    sure = (Answer.SIGN, Answer.NO_SIGN)
    day.judged = sorted(
        (row.probability, row.answer == Answer.SIGN) for row in read if row.probability is not None and row.answer in sure
    )
    day.signs, day.group_disagreed = ({group: Share() for group in ("", *GROUPS)} for _ in range(2))
    for row in read:
        sign, disagrees = row.category == Answer.SIGN, _disagrees(row)
        for group in ("", *groups_of(row.features)):
            day.signs[group].add(sign)
            day.group_disagreed[group].add(disagrees)
    return day


def upper_edge(name: str, limit: float) -> int:
    """Index of the first bin of ``EDGES[name]`` that lies wholly at or above ``limit``."""
    return int(np.searchsorted(EDGES[name], limit, side="left")) + 1
