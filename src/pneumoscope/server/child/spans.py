"""Where the frames of a file lie in it, so that a viewer's many requests need neither a parser nor a decoder."""

import struct
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

Span = tuple[int, int]
_PIXELS, _ITEM, _END = (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def frame_spans(path: Path, dataset: Dataset) -> tuple[Span, ...]:
    """(offset, length) in bytes of each frame; none where frames are not whole runs of bytes that a client could have.

    ``dataset``: the header of ``path``, without its pixels.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        return ()
    count = int(dataset.get("NumberOfFrames") or 1)
    with path.open("rb") as file:
        pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["Rows"])
        if struct.unpack("<HH", file.read(4)) != _PIXELS:
            return ()
        if syntax != ImplicitVRLittleEndian and file.read(4)[:2] not in (b"OB", b"OW"):  # VR and two unused bytes
            return ()
        (length,) = struct.unpack("<I", file.read(4))
        spans = _fragments(file, count) if syntax.is_encapsulated else _native(file.tell(), length, dataset, count)
        size = file.seek(0, 2)
    return spans if spans and max(offset + length for offset, length in spans) <= size else ()


def _native(start: int, length: int, dataset: Dataset, count: int) -> tuple[Span, ...]:
    bits = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1)) * int(dataset.BitsAllocated)
    size = bits // 8
    if bits % 8 or not 0 < size * count <= length:
        return ()
    return tuple((start + index * size, size) for index in range(count))


def _fragments(file: BinaryIO, count: int) -> tuple[Span, ...]:
    """Those of files whose every frame is one fragment (PS3.5 A.4), as nearly all are."""
    spans: list[Span] = []
    while len(header := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", header)
        if (group, element) == _END:
            break
        if (group, element) != _ITEM or len(spans) > count:
            return ()
        spans.append((file.tell(), length))
        file.seek(length, 1)
    return tuple(spans[1:]) if len(spans) == count + 1 else ()  # the first is the table of offsets
