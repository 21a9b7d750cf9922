"""What windows come to in figures that can be added up: each count as a range, since a site hides those from 1 to 4."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from pneumoscope.fleet.cells import SMALLEST
from pneumoscope.fleet.messages import EDGES, Answer, Count, ModelWindow, Role, Window

#: Bins of ``involved_percent`` that are of a quarter of the lung and more.
_QUARTER = EDGES["involved_percent"].index(25) + 1
_EDGES = (-1.0, *EDGES["score_difference"], 1.0)
#: Middles of the bins of ``score_difference``.
MIDDLES = tuple((low + high) / 2 for low, high in pairwise(_EDGES))
#: A hidden bin counts as so many where one number is needed: the middle of 1 to 4, rounded down.
_HIDDEN = 2


def span(*counts: Count) -> tuple[int, int]:
    """The least and the most that counts come to."""
    hidden = sum(count is None for count in counts)
    known = sum(count for count in counts if count is not None)
    return known + hidden, known + (SMALLEST - 1) * hidden


def totals(window: Window) -> list[dict[str, Any]]:
    """A row for each model of a window, by the columns of the table ``window_total``; the first holds the window's studies."""
    rows = [_row(model) for model in window.models] or [{"model": "", "role": Role.PRESENT.value, "mode": ""}]
    rows[0] |= _columns(studies=(window.studies,))
    return [{"number": number, **row} for number, row in enumerate(rows)]


def _row(model: ModelWindow) -> dict[str, Any]:
    # a hidden total of answers holds no more than the readings do
    told = {answer: model.categories.get(answer, 0) for answer in Answer}
    paired = model.paired
    bins = paired.score_difference.bins if paired else ()
    weights = [_HIDDEN if count is None else count for count in bins]
    return {
        "model": model.model,
        "role": model.role.value,
        "mode": model.mode.value,
        "difference_sum": sum(weight * middle for weight, middle in zip(weights, MIDDLES, strict=False)),
        "differences": sum(weights),
        **_columns(
            read=(model.read,),
            sign=(told[Answer.SIGN],),
            indeterminate=(told[Answer.INDETERMINATE],),
            no_sign=(told[Answer.NO_SIGN],),
            cannot_say=(told[Answer.CANNOT_SAY],),
            refused=tuple(model.refused.values()),
            failed=tuple(model.failed.values()),
            involved=model.involved_percent.bins[_QUARTER:],
            answers=(model.agreement.answers,),
            agreed=(model.agreement.agreed,),
            pairs=(paired.both if paired else 0,),
            same=(paired.same_category if paired else 0,),
        ),
    }


def _columns(**counts: Iterable[Count]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for name, values in counts.items():
        found[name], found[f"{name}_most"] = span(*values)
    return found
