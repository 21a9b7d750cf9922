"""Series to Volume: HU of every slice, decoded in processes that may die."""

import mmap
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pneumoscope.decoding import DECODE_FAULTS, decode_hu
from pneumoscope.errors import UnreadableVolume
from pneumoscope.geometry import intervals_mm, slice_normal
from pneumoscope.parallel import bound_memory, fork_map
from pneumoscope.records import Instance, Notice, Series, Volume

#: Slices that may fail to decode: this share, and never two neighbours.
MAX_UNDECODABLE_SHARE = 0.02
#: Memory for one slice: for the decoder and its threads, and for copies of each pixel. What is packed may be larger than its
#: header says, so that a file of 1 kB takes many GB.
DECODER_BYTES, DECODER_PIXEL_BYTES = 2 * 2**30, 40


def load_volume(series: Series, *, progress: Callable[[int, int], None] | None = None) -> Volume:
    """Decode a series. Raises UnreadableVolume where too many slices cannot be decoded.

    A slice that cannot be decoded is left out like a missing one; images doubled at one position are compared.
    """
    wanted = [*series.instances, *(other for _, other in series.doubles)]
    rows, columns = series.first.Rows, series.first.Columns
    memory = mmap.mmap(-1, len(wanted) * rows * columns * 2)  # anonymous and shared: the children write, we read
    hu: NDArray[np.int16] = np.frombuffer(memory, dtype=np.int16).reshape(len(wanted), rows, columns)

    def decode(item: tuple[int, Instance]) -> bool:
        index, instance = item
        bound_memory(DECODER_BYTES + DECODER_PIXEL_BYTES * rows * columns)
        try:
            hu[index] = decode_hu(instance)
        except DECODE_FAULTS:
            return False
        return True

    decoded = np.zeros(len(wanted), dtype=bool)
    for done, (index, result) in enumerate(fork_map(decode, list(enumerate(wanted)), chunk=4)):
        decoded[index] = result is True
        if progress:
            progress(done + 1, len(wanted))
    count = len(series.instances)
    notices = list(series.notices)
    notices += _compare_doubles(series, hu, decoded)
    good = decoded[:count]
    if not good.all():
        notices.append(_undecodable(good))
    kept = hu[:count] if good.all() else hu[:count][good]
    return _volume(series, tuple(i for i, ok in zip(series.instances, good, strict=True) if ok), kept, notices)


def _volume(series: Series, instances: tuple[Instance, ...], hu: NDArray[np.int16], notices: list[Notice]) -> Volume:
    orientation, spacing = instances[0].ImageOrientationPatient, instances[0].PixelSpacing
    assert orientation and spacing, "the series rules ask for both"
    origins = np.array([i.ImagePositionPatient for i in instances], dtype=np.float64)
    positions_mm = origins @ slice_normal(orientation)
    hu.flags.writeable = False
    return Volume(
        study=series.study,
        instances=instances,
        hu=hu,
        positions_mm=positions_mm,
        intervals_mm=intervals_mm(positions_mm),
        origins_mm=origins,
        ImageOrientationPatient=orientation,
        PixelSpacing=spacing,
        SliceThickness=instances[0].SliceThickness,
        notices=tuple(notices),
    )


def _undecodable(good: NDArray[np.bool_]) -> Notice:
    bad = np.flatnonzero(~good)
    if len(bad) > MAX_UNDECODABLE_SHARE * len(good) or (np.diff(bad) == 1).any():
        raise UnreadableVolume(
            f"{len(bad)} of {len(good)} slices cannot be decoded; at most {MAX_UNDECODABLE_SHARE:.0%} may, "
            "and no two neighbours.",
            code="undecodable-slices",
        )
    return Notice(
        code="undecodable-slices",
        text=f"{len(bad)} of {len(good)} slices could not be decoded and are left out; volumes bridge the gap.",
    )


def _compare_doubles(series: Series, hu: NDArray[np.int16], decoded: NDArray[np.bool_]) -> list[Notice]:
    """Doubles with the same pixels are copies; others are told. Where one stands in for a damaged one, it is used."""
    differing = 0
    count = len(series.instances)
    for offset, (kept, other) in enumerate(series.doubles):
        if not decoded[count + offset]:
            continue
        same = decoded[kept] and np.array_equal(hu[kept], hu[count + offset])
        if same:
            continue
        one_uid = other.SOPInstanceUID == series.instances[kept].SOPInstanceUID
        # under one UID nothing but the content tells the two apart, so the content decides, whatever the order
        if not decoded[kept] or (one_uid and hu[count + offset].tobytes() < hu[kept].tobytes()):
            hu[kept], decoded[kept] = hu[count + offset].copy(), True
        differing += 1
    if not differing:
        return []
    text = (
        f"At {differing} positions there are two images with different pixels; the one with the lower instance number is read."
    )
    return [Notice(code="doubled-slices", text=text)]
