"""Windows at the hub, as the watches take them. A hidden count is taken for the one that speaks least for a change.

A count is hidden where it is 1 to 4, or where such a one would follow from it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pneumoscope.fleet.days import KINDS_OF_WORDS, NUMBERS, Day, Share, Values, upper_edge
from pneumoscope.fleet.evidence import Floats
from pneumoscope.fleet.messages import EDGES, Answer, ModelWindow, Role, Window
from pneumoscope.fleet.wire import Count

#: What is taken for the share of failures, and of refusals, where they are hidden.
_FEW = 0.02


def filled(counts: Sequence[Count], expected: Floats, total: float | None = None) -> Floats:
    """``counts``, hidden ones as ``expected`` (shares) has them: at least 1 each, and by their sum where ``total`` is told."""
    hidden = np.array([count is None for count in counts], dtype=bool)
    known = np.array([0 if count is None else count for count in counts], dtype=float)
    if not hidden.any():
        return known
    shares = np.maximum(expected[hidden], 1e-6)
    left = 0.0 if total is None else total - known.sum()
    if left >= hidden.sum():
        more = left - hidden.sum()  # above one each
        known[hidden] = 1 + shares / shares.sum() * more
        return known
    seen = expected[~hidden].sum()
    scale = known.sum() / seen if seen > 0 else 0.0
    known[hidden] = np.maximum(shares * scale, 1)
    return known


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


def guess(count: Count, *, likely: float) -> float:
    """A count that may be hidden, and is then at least 1."""
    return max(likely, 1.0) if count is None else float(count)


def _sum(counts: Mapping[str, Count], likely: float) -> float:
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
            rows = [
                (window.inputs[name].bins if name in window.inputs else empty, None) for window, _ in picked
            ]  # some lack it
        for day, row in zip(days, fill_all(rows), strict=True):
            day.numbers[name] = Values(np.arange(len(row), dtype=float), row)
    for kind in KINDS_OF_WORDS:
        names = sorted({word for window, _ in picked for word in window.words.get(kind, {})})
        counts = [([window.words.get(kind, {}).get(name, 0) for name in names], window.studies) for window, _ in picked]
        for day, row in zip(days, fill_all(counts), strict=True):
            day.words[kind] = dict(zip(names, row.tolist(), strict=True))
    return days


def _share(hits: Count, n: Count) -> Share:
    """Nothing where either is hidden."""
    return Share() if hits is None or n is None else Share(hits, n)


def _disagreed(answers: Count, agreed: Count) -> Share:
    return _share(None if answers is None or agreed is None else answers - agreed, answers)


def _day(window: Window, entry: ModelWindow, late_s: float) -> Day:
    day = Day(window.start)
    counts = (entry.read, *entry.refused.values(), *entry.failed.values())
    told = [count for count in counts if count is not None]
    readings = sum(told) if len(told) == len(counts) else window.studies
    if readings is not None:
        day.readings = float(readings)
        day.failed = Share(_sum(entry.failed, _FEW * readings), readings)
        day.refused = Share(_sum(entry.refused, _FEW * readings), readings)
        day.codes = {code: guess(count, likely=_FEW * readings) for code, count in entry.refused.items()}
    day.disagreed = _disagreed(entry.agreement.answers, entry.agreement.agreed)
    edges = EDGES["wait_s"]
    expected = np.full(len(edges) + 1, 1.0)
    first = min(upper_edge("wait_s", late_s), len(edges))
    expected[first:] = 0.01
    if window.wait_s.bins:
        waits = filled(window.wait_s.bins, expected / expected.sum())
        day.late = Share(float(waits[first:].sum()), float(waits.sum()))
        tops = np.array([*edges, edges[-1] * 2], dtype=float)
        day.waits_s = np.repeat(tops, np.round(waits).astype(int))
    for group, found in entry.subgroups.items():
        day.signs[group] = _share(found.sign, found.read)
        day.group_disagreed[group] = _disagreed(found.answers, found.agreed)
    day.signs[""] = _share(entry.categories.get(Answer.SIGN, 0), entry.read)
    day.group_disagreed[""] = day.disagreed
    return day
