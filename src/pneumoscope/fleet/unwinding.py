"""Windows at the hub, as the watches take them. A hidden count is taken for the one that speaks least for a change."""

from collections.abc import Mapping, Sequence

import numpy as np

from pneumoscope.fleet.cells import SMALLEST
from pneumoscope.fleet.days import KINDS_OF_WORDS, NUMBERS, Day, Share, Values, upper_edge
from pneumoscope.fleet.evidence import Floats
from pneumoscope.fleet.messages import EDGES, Answer, Count, ModelWindow, Role, Window

_MOST_HIDDEN = SMALLEST - 1


def filled(counts: Sequence[Count], expected: Floats, total: float | None = None) -> Floats:
    """``counts``, hidden ones as ``expected`` (shares) has them, each from 1 to 4, or by their sum where ``total`` is told."""
    hidden = np.array([count is None for count in counts], dtype=bool)
    known = np.array([0 if count is None else count for count in counts], dtype=float)
    if not hidden.any():
        return known
    shares = np.maximum(expected[hidden], 1e-6)
    if total is not None and total > known.sum():
        left = total - known.sum()
        known[hidden] = shares / shares.sum() * left if left > hidden.sum() * _MOST_HIDDEN else _between(shares, left)
        return known
    seen = expected[~hidden].sum()
    scale = known.sum() / seen if seen > 0 and known.sum() > 0 else _MOST_HIDDEN * hidden.sum()
    known[hidden] = np.clip(shares * scale, 1, _MOST_HIDDEN)
    return known


def _between(shares: Floats, left: float) -> Floats:
    """Counts near ``shares`` of ``left``, each from 1 to 4 as far as their sum allows."""
    counts = np.clip(shares / shares.sum() * left, 1, _MOST_HIDDEN)
    return counts * left / counts.sum()


def fill_all(rows: Sequence[tuple[Sequence[Count], float | None]]) -> list[Floats]:
    """Histograms of one thing: what is hidden in one is guessed from the shares in those before it, and evenly at first."""
    if not rows:
        return []
    seen = np.full(len(rows[0][0]), 0.5)
    found = []
    for counts, total in rows:
        row = filled(counts, seen / seen.sum(), total)
        seen = seen + row
        found.append(row)
    return found


def guess(count: Count, *, likely: float, n: float | None = None) -> float:
    """A count that may be hidden: the value nearest to ``likely`` that it can have, also where its complement was small."""
    if count is not None:
        return float(count)
    low = min(max(likely, 1.0), _MOST_HIDDEN)
    if n is None or n < SMALLEST:
        return low
    high = min(max(likely, n - _MOST_HIDDEN), n - 1)
    return low if abs(low - likely) <= abs(high - likely) else high


def _sum(counts: Mapping[str, Count], likely: float = 2.5) -> float:
    return sum(guess(count, likely=likely) for count in counts.values())


def days_of_windows(windows: Sequence[Window], *, model: str, late_s: float) -> list[Day]:
    """Batches of those windows in which ``model`` was the present one, in their order."""
    picked = [
        (window, entry) for window in windows for entry in window.models if entry.role is Role.PRESENT and entry.model == model
    ]
    days = [_day(window, entry, late_s) for window, entry in picked]
    if not days:
        return []
    for name in ("score", *NUMBERS):
        empty = (0,) * (len(EDGES[name]) + 1)
        if name == "score":
            rows = [(entry.score.bins or empty, None if entry.read is None else float(entry.read)) for _, entry in picked]
        else:
            rows = [(window.inputs[name].bins if name in window.inputs else empty, None) for window, _ in picked]
        for day, row in zip(days, fill_all(rows), strict=True):
            day.numbers[name] = Values(np.arange(len(row), dtype=float), row)
    for kind in KINDS_OF_WORDS:
        names = sorted({word for window, _ in picked for word in window.words.get(kind, {})})
        counts = [([window.words.get(kind, {}).get(name, 0) for name in names], None) for window, _ in picked]
        for day, row in zip(days, fill_all(counts), strict=True):
            day.words[kind] = dict(zip(names, row.tolist(), strict=True))
    return days


def _disagreed(answers: Count, agreed: Count, usual: float) -> Share:
    if answers is None:
        return Share()
    return Share(answers - guess(agreed, likely=usual * answers, n=answers), answers)


def _day(window: Window, entry: ModelWindow, late_s: float) -> Day:
    day = Day(window.start)
    read = guess(entry.read, likely=2.5)
    refused, failed = _sum(entry.refused), _sum(entry.failed, 1.0)
    day.readings = read + refused + failed
    day.failed, day.refused = Share(failed, day.readings), Share(refused, day.readings)
    day.codes = {code: guess(count, likely=2.5) for code, count in entry.refused.items()}
    day.disagreed = _disagreed(entry.agreement.answers, entry.agreement.agreed, 0.8)
    edges = EDGES["wait_s"]
    expected = np.full(len(edges) + 1, 1.0)
    first = min(upper_edge("wait_s", late_s), len(edges))
    expected[first:] = 0.05
    if window.wait_s.bins:
        waits = filled(window.wait_s.bins, expected / expected.sum())
        day.late = Share(float(waits[first:].sum()), float(waits.sum()))
        tops = np.array([*edges, edges[-1] * 2], dtype=float)
        day.waits_s = np.repeat(tops, np.round(waits).astype(int))
    for group, found in (*entry.subgroups.items(),):
        if found.read is not None:
            day.signs[group] = Share(guess(found.sign, likely=found.read / 4, n=found.read), found.read)
        day.group_disagreed[group] = _disagreed(found.answers, found.agreed, 0.8)
    signs = entry.categories.get(Answer.SIGN, 0)
    day.signs[""] = Share(guess(signs, likely=read / 4), read)
    day.group_disagreed[""] = day.disagreed
    return day
