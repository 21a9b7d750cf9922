"""Instances to stacks: what lies on one another, ordered from feet to head."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pneumoscope.geometry import slice_normal
from pneumoscope.records import Instance

#: Slices nearer than this lie at one position.
SAME_POSITION_MM = 0.02


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Instances that share series, orientation, matrix, kernel and kind.

    With geometry, ``instances`` run from feet to head, ``positions_mm`` along the slice normal, one per position, and
    ``doubles`` are (index kept, left out). Without, they are in order of UID and ``positions_mm`` is empty.
    """

    instances: tuple[Instance, ...]
    positions_mm: NDArray[np.float64]
    doubles: tuple[tuple[int, Instance], ...] = ()

    @property
    def first(self) -> Instance:
        """Stands for all in what they share."""
        return self.instances[0]

    @property
    def extent_mm(self) -> float:
        """From the first slice's centre to the last's."""
        return float(self.positions_mm[-1] - self.positions_mm[0]) if len(self.positions_mm) > 1 else 0.0

    @property
    def step_mm(self) -> float:
        """The usual distance between neighbours."""
        return float(np.median(np.diff(self.positions_mm))) if len(self.positions_mm) > 1 else 0.0


def build_stacks(instances: Iterable[Instance]) -> list[Stack]:
    """Group instances into stacks, whatever their order or file names."""
    groups: dict[tuple[object, ...], list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[_kind(instance)].append(instance)
    stacks = [stack for _, group in sorted(groups.items(), key=lambda item: repr(item[0])) for stack in _split(group)]
    return sorted(stacks, key=lambda stack: (stack.first.SeriesInstanceUID, stack.first.SOPInstanceUID))


def _kind(instance: Instance) -> tuple[object, ...]:
    def rounded(values: tuple[float, ...] | None, digits: int) -> tuple[float, ...] | None:
        return None if values is None else tuple(round(v, digits) + 0.0 for v in values)

    return (
        instance.SeriesInstanceUID,
        instance.SOPClassUID,
        rounded(instance.ImageOrientationPatient, 2),
        rounded(instance.PixelSpacing, 3),
        (instance.Rows, instance.Columns),
        instance.ConvolutionKernel,
        None if instance.SliceThickness is None else round(instance.SliceThickness, 2),
        instance.ImageType[2:3],
        instance.has_pixels,
    )


def _split(group: list[Instance]) -> list[Stack]:
    """One stack, or one per acquisition where several acquisitions cover the same stretch of the patient."""
    if any(i.ImagePositionPatient is None or i.ImageOrientationPatient is None for i in group):
        ordered = sorted(group, key=lambda i: i.SOPInstanceUID)
        return [Stack(instances=tuple(ordered), positions_mm=np.empty(0))]
    acquisitions: dict[int | None, list[Instance]] = defaultdict(list)
    for instance in group:
        acquisitions[instance.AcquisitionNumber].append(instance)
    parts = [acquisitions[key] for key in sorted(acquisitions, key=lambda k: -1 if k is None else k)]
    if len(parts) > 1 and _overlap(parts):
        return [_order(part) for part in parts]
    return [_order(group)]


def _overlap(parts: list[list[Instance]]) -> bool:
    """Whether two acquisitions share more than a tenth of the shorter one's stretch (neighbours may share an end)."""
    ends = sorted((min(p), max(p)) for p in (_positions(part) for part in parts))
    for (_, high), (low, other_high) in pairwise(ends):
        if min(high, other_high) - low > 0.1 * max(other_high - low, 1.0):
            return True
    return False


def _positions(instances: list[Instance]) -> list[float]:
    normal = slice_normal(instances[0].ImageOrientationPatient)  # type: ignore[arg-type]
    return [float(np.dot(normal, i.ImagePositionPatient)) for i in instances]  # type: ignore[arg-type]


def _order(group: list[Instance]) -> Stack:
    """Order by position; at one position the lower instance number, then the lower UID, is kept."""
    positions = _positions(group)
    far = 2**31

    def rank(k: int) -> tuple[float, int, str]:
        number = group[k].InstanceNumber
        return round(positions[k] / SAME_POSITION_MM), far if number is None else number, group[k].SOPInstanceUID

    kept: list[int] = []
    doubles: list[tuple[int, Instance]] = []
    for k in sorted(range(len(group)), key=rank):
        if kept and positions[k] - positions[kept[-1]] <= SAME_POSITION_MM:
            doubles.append((len(kept) - 1, group[k]))
        else:
            kept.append(k)
    return Stack(
        instances=tuple(group[k] for k in kept),
        positions_mm=np.array([positions[k] for k in kept]),
        doubles=tuple(doubles),
    )
