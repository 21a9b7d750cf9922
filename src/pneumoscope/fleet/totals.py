"""What windows come to in figures that add up: each count as a range and a likely value, since sites hide small ones.

A hidden count is from 1 to 4, or one that would give such a number away by subtraction; where the total of its table is told,
it can be no more than what is left.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from pneumoscope.fleet.cells import SMALLEST
from pneumoscope.fleet.messages import EDGES, Answer, ModelWindow, Role, Window
from pneumoscope.fleet.wire import Count

_MOST_HIDDEN = SMALLEST - 1
#: What a small count likely is.
_LIKELY = 2
#: Bins of ``involved_percent`` that are of a quarter of the lung and more.
_QUARTER = EDGES["involved_percent"].index(25) + 1
_EDGES = (-1.0, *EDGES["score_difference"], 1.0)
#: Middles of the bins of ``score_difference``.
MIDDLES = tuple((low + high) / 2 for low, high in pairwise(_EDGES))
#: Counts that stand with a likely value beside their ends.
LIKELY = ("sign", "involved", "agreed", "same")


class Estimate(NamedTuple):
    """A count: what it is at least, at most, and likely."""

    least: int
    most: int
    likely: int

    def __add__(self, other: tuple[Any, ...]) -> "Estimate":
        return Estimate(*(one + more for one, more in zip(self, other, strict=True)))


_NONE = Estimate(0, 0, 0)


def alone(count: Count) -> Estimate:
    """A count of which nothing else is known."""
    return Estimate(1, _MOST_HIDDEN, _LIKELY) if count is None else Estimate(count, count, count)


def within(total: Count | Estimate, cells: Sequence[Count], *, order: Iterable[int] = ()) -> list[Estimate]:
    """The cells of a table with its ``total``. ``order``: the hidden one that comes first in it likely has what is left."""
    hidden = [place for place, count in enumerate(cells) if count is None]
    found = [alone(count) for count in cells]
    if total is None or not hidden:
        return found
    whole = total if isinstance(total, Estimate) else alone(total)
    others, known = len(hidden) - 1, sum(count for count in cells if count is not None)
    lowest, most, likely = (max(end - known, len(hidden)) for end in whole)
    first = next((place for place in order if cells[place] is None), hidden[0])
    small = min(_LIKELY, likely // len(hidden))
    for place in hidden:
        # a few may be in no cell at all, such as readings without a score
        least = max(1, lowest - _MOST_HIDDEN) if not others else 1
        found[place] = Estimate(least, most - others, likely - others * small if place == first else small)
    return found


def whole_of(tables: Iterable[Sequence[Count]]) -> Estimate | None:
    """A hidden total, by the ``tables`` whose cells add up to it or to little less; None where they tell nothing.

    A count that is hidden for the sake of another is the smallest of those that could be: no larger than one that is told.
    """
    least, most, likely = 1, 0, _LIKELY
    fewest = None
    for cells in tables:
        told, hidden = [count for count in cells if count], sum(count is None for count in cells)
        least = max(least, sum(told) + hidden)
        if told:
            end = sum(told) + hidden * max(_MOST_HIDDEN, min(told)) + _MOST_HIDDEN
            most = min(most or end, end)
            if fewest is None or hidden < fewest:
                fewest, likely = hidden, sum(told) + hidden * _LIKELY
    if not most:
        return None
    most = max(most, least)
    return Estimate(least, most, min(max(likely, least), most))


def totals(window: Window) -> list[dict[str, Any]]:
    """A row for each model of a window, by the columns of the table ``window_total``; the first holds the window's studies."""
    rows = [_row(model) for model in window.models] or [{"model": "", "role": Role.PRESENT.value, "mode": ""}]
    rows[0] |= _columns(studies=_studies(window))
    return [{"number": number, **row} for number, row in enumerate(rows)]


def _studies(window: Window) -> Estimate:
    if window.studies is not None:
        return alone(window.studies)
    ended = [model for model in window.models if model.role is Role.PRESENT]
    rest = [alone(count) for model in ended for count in (*model.refused.values(), *model.failed.values())]
    return sum((*(_read(model) or _NONE for model in ended), *rest), _NONE) if ended else alone(None)


def _read(model: ModelWindow) -> Estimate | None:
    """Readings; None where all of their numbers are hidden, and there may be many."""
    if model.read is not None:
        return alone(model.read)
    bins = (model.score.bins, model.involved_percent.bins, model.reading_s.bins)
    return whole_of((list(model.categories.values()), *bins))


def _part(whole: Count, part: Count, *, read: Estimate) -> tuple[Estimate, Estimate]:
    """A total and the larger of its two parts, such as answers and those that agree; it is no more than was ``read``."""
    if whole is None and part is not None:  # it is hidden where the other part would follow
        found = alone(part) + alone(None)
        return found._replace(most=max(found.most, read.most)), alone(part)
    if whole is None:  # as many as were read, or one: they are in no sum
        return _NONE, _NONE
    return alone(whole), within(whole, (part, None if part is None else whole - part), order=(0,))[0]


def _row(model: ModelWindow) -> dict[str, Any]:
    read, named = _read(model), {"model": model.model, "role": model.role.value, "mode": model.mode.value}
    return {**named, "untold": 1} if read is None else {**named, **_figures(model, read)}


def _figures(model: ModelWindow, read: Estimate) -> dict[str, Any]:
    usual = (Answer.NO_SIGN, Answer.SIGN, Answer.INDETERMINATE, Answer.CANNOT_SAY)
    told = dict(zip(usual, within(read, [model.categories.get(answer, 0) for answer in usual]), strict=True))
    heavy = sum(within(read, model.involved_percent.bins)[_QUARTER:], _NONE)
    answers, agreed = _part(model.agreement.answers, model.agreement.agreed, read=read)
    paired = model.paired
    pairs, same = _part(paired.both, paired.same_category, read=read) if paired else (_NONE, _NONE)
    bins = paired.score_difference.bins if paired else ()
    centre = sorted(range(len(bins)), key=lambda place: abs(MIDDLES[place]))
    weights = [one.likely for one in within(paired.both if paired else 0, bins, order=centre)]
    return {
        "difference_sum": sum(weight * middle for weight, middle in zip(weights, MIDDLES, strict=False)),
        "differences": sum(weights),
        **_columns(
            read=read,
            sign=told[Answer.SIGN],
            indeterminate=told[Answer.INDETERMINATE],
            no_sign=told[Answer.NO_SIGN],
            cannot_say=told[Answer.CANNOT_SAY],
            refused=sum(map(alone, model.refused.values()), _NONE),
            failed=sum(map(alone, model.failed.values()), _NONE),
            involved=heavy._replace(most=min(heavy.most, read.most)),
            answers=answers,
            agreed=agreed,
            pairs=pairs,
            same=same,
        ),
    }


def _columns(**counts: Estimate) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, count in counts.items():
        found[name], found[f"{name}_most"] = count.least, count.most
        if name in LIKELY:
            found[f"{name}_likely"] = count.likely
    return found
