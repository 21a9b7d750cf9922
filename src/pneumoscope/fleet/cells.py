"""Counts that leave a site: small ones are hidden, also where sums would give them away."""

from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from pneumoscope.fleet.wire import Count

#: Counts below this, save none at all, are not told.
SMALLEST = 5
Cell = tuple[object, ...]
_TINY = 1e-9


def hide(number: int) -> Count:
    """``number``, or None where it would be of 1 to 4 studies."""
    return None if 0 < number < SMALLEST else number


def hidden_cells(
    numbers: Mapping[Cell, int],
    sums: Sequence[Sequence[Cell]],
    *,
    untold: Container[Cell] = (),
    worth: Mapping[Cell, int] = MappingProxyType({}),
) -> set[Cell]:
    """Cells not to tell, so that none of 1 to 4 follows from those told by adding and subtracting.

    ``sums``: (total, part, part, ...) of cells; ``untold``: rests that are never told, and may not follow either. Where one
    more is to be hidden it is the one of least ``worth``, which is 1 unless given, and of those the smallest.
    """
    hidden = {key for key, number in numbers.items() if 0 < number < SMALLEST or (number and key in untold)}

    def hide_one_more(cells: Iterable[Cell]) -> bool:
        others = [key for key in cells if key not in hidden and key not in untold and numbers[key]]
        if others:
            hidden.add(min(others, key=lambda key: (worth.get(key, 1), numbers[key])))
        return bool(others)

    while True:
        for cells in sums:
            unknown = [key for key in cells if key in hidden]
            if all(key in untold and numbers[key] >= SMALLEST for key in unknown):
                continue  # a rest of many may follow
            few = cells[0] not in hidden and sum(numbers[key] for key in unknown) < SMALLEST
            if (len(unknown) == 1 or few) and hide_one_more(cells):
                break
        else:  # each sum by itself is safe; are they together?
            for key in _following(hidden, sums):
                if numbers[key] < SMALLEST and any(hide_one_more(cells) for cells in _around(key, sums, hidden)):
                    break
            else:
                return hidden


def _around(key: Cell, sums: Sequence[Sequence[Cell]], hidden: set[Cell]) -> list[Sequence[Cell]]:
    """Sums with ``key``, then those that share another hidden cell with them."""
    near = [cells for cells in sums if key in cells]
    beside = {cell for cells in near for cell in cells if cell in hidden}
    return near + [cells for cells in sums if beside.intersection(cells)]


def _following(hidden: set[Cell], sums: Sequence[Sequence[Cell]]) -> list[Cell]:
    """Cells of ``hidden`` that follow from the others: no solution without the told ones (the null space) moves them."""
    order = list(hidden)
    rows = [[0.0 if key not in cells else 1.0 if key == cells[0] else -1.0 for key in order] for cells in sums]
    matrix = np.array([row for row in rows if any(row)])
    if not matrix.size:
        return []
    _, sizes, directions = np.linalg.svd(matrix)
    free = directions[int((sizes > _TINY).sum()) :]
    return [key for key, moves in zip(order, np.abs(free).max(axis=0, initial=0.0), strict=True) if moves < _TINY]
