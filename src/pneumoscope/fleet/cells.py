"""Counts that leave a site: small ones are hidden, also where sums would give them away."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pneumoscope.fleet.messages import EDGES, Count, Histogram

#: Counts below this, save none at all, are not told.
SMALLEST = 5
Key = TypeVar("Key")


def hide(number: int) -> Count:
    """``number``, or None where it would be of 1 to 4 studies."""
    return None if 0 < number < SMALLEST else number


def hide_parts(parts: Mapping[Key, int]) -> dict[Key, Count]:
    """Cells of a table whose total is known: where exactly one would be hidden, the smallest of the others is hidden too."""
    hidden = {key for key, number in parts.items() if 0 < number < SMALLEST}
    if len(hidden) == 1 and (others := [key for key, number in parts.items() if number >= SMALLEST]):
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
