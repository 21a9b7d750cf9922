"""Tables with small counts hidden, one at a time, for tests of what reads them."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pneumoscope.fleet.cells import SMALLEST
from pneumoscope.fleet.messages import EDGES, Histogram
from pneumoscope.fleet.wire import Count

Key = TypeVar("Key")


def hide_parts(parts: Mapping[Key, int]) -> dict[Key, Count]:
    """Cells of a table whose total is known: others are hidden too where those to be hidden would be known by subtraction."""
    hidden = {key for key, number in parts.items() if 0 < number < SMALLEST}
    others = [key for key, number in parts.items() if number >= SMALLEST]
    if hidden and others and (len(hidden) == 1 or sum(parts[key] for key in hidden) < SMALLEST):
        hidden.add(min(others, key=lambda key: parts[key]))
    return {key: None if key in hidden else number for key, number in parts.items()}


def histogram(name: str, values: Iterable[float | None]) -> Histogram:
    """Bins of ``EDGES[name]``, small ones hidden; values that are None are left out."""
    edges = EDGES[name]
    bins = dict.fromkeys(range(len(edges) + 1), 0)
    for value in values:
        if value is not None:
            bins[bisect_right(edges, value)] += 1
    return Histogram(bins=tuple(hide_parts(bins).values()))
