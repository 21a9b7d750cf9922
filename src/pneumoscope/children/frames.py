"""Frames of a file: as stored, or decoded to plain little-endian values."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from pneumoscope.errors import Rejected

#: More than any frame of CT; what a child may be asked to hold.
MAX_FRAME_BYTES = 512 * 2**20
MAX_ANSWER_BYTES = 1024 * 2**20
_IMAGE_MODULE = (
    *("SOPInstanceUID", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)


@dataclass(frozen=True, kw_only=True)
class Frames:
    """``stored``: whether ``contents`` are compressed frames as in the file; else plain little-endian values."""

    TransferSyntaxUID: str
    stored: bool
    contents: tuple[bytes, ...]


def read_frames(path: Path, numbers: Sequence[int], *, decode: bool) -> Frames:
    """Frames by their numbers, from 1; compressed ones as they are unless ``decode``. None: all. Raises Rejected."""
    dataset = open_whole(path)
    syntax, count = syntax_of(dataset), frame_count(dataset)
    chosen = list(numbers) or list(range(1, count + 1))
    if any(not 1 <= number <= count for number in chosen):
        raise Rejected(f"There are {count} frames; another was asked for.", code="no-such-frame")
    stored = syntax.is_encapsulated and not decode
    contents, size = [], 0
    for number in chosen:
        content = _stored_frame(dataset, number - 1) if stored else _plain_frame(dataset, number - 1)
        size += len(content)
        if size > MAX_ANSWER_BYTES:
            raise Rejected(f"More than {MAX_ANSWER_BYTES // 2**20} MiB of frames; ask for fewer at once.", code="too-much")
        contents.append(content)
    return Frames(TransferSyntaxUID=syntax if stored else ExplicitVRLittleEndian, stored=stored, contents=tuple(contents))


def open_whole(path: Path) -> Dataset:
    """The file with its pixels, which are read only when they are looked at. Raises Rejected where it has none."""
    dataset = pydicom.dcmread(path, defer_size=2**16, force=True)
    if "PixelData" not in dataset:
        raise Rejected("The object has no pixel data that can be shown.", code="no-pixels")
    size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1)) * int(dataset.BitsAllocated) // 8
    if not 0 < size <= MAX_FRAME_BYTES:
        raise Rejected(f"A frame of {size} bytes; allowed are up to {MAX_FRAME_BYTES}.", code="frame-too-large")
    return dataset


def syntax_of(dataset: Dataset) -> UID:
    """Transfer syntax as the file says, or as pydicom read it where it says nothing."""
    stated = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    return UID(stated) if stated else pydicom.uid.ImplicitVRLittleEndian if dataset.is_implicit_VR else ExplicitVRLittleEndian


def frame_count(dataset: Dataset) -> int:
    """Number of frames, 1 where it is not said."""
    return int(dataset.get("NumberOfFrames") or 1)


def _stored_frame(dataset: Dataset, index: int) -> bytes:
    return get_frame(dataset.PixelData, index, number_of_frames=frame_count(dataset))


def _plain_frame(dataset: Dataset, index: int) -> bytes:
    """Values as an uncompressed file would hold them."""
    if syntax_of(dataset).is_encapsulated:
        return values(dataset, index).tobytes()
    bits = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1)) * int(dataset.BitsAllocated)
    if bits % 8:  # one bit a pixel, and the frame begins amidst a byte
        return np.packbits(values(dataset, index), axis=None, bitorder="little").tobytes()
    start = index * bits // 8
    content = bytes(dataset.PixelData[start : start + bits // 8])
    if len(content) != bits // 8:
        raise EOFError("pixel data end early")
    if syntax_of(dataset) == ExplicitVRBigEndian and dataset.BitsAllocated == 16:
        return np.frombuffer(content, ">u2").astype("<u2").tobytes()
    return content


def values(dataset: Dataset, index: int) -> NDArray[Any]:
    """(row, column) or (row, column, sample) values of one frame as stored, before any rescale."""
    syntax = syntax_of(dataset)
    if not syntax.is_encapsulated:
        return _native(dataset, index)
    if not get_decoder(syntax).is_available:
        return _by_gdcm(dataset, index)
    single = _single(dataset, index, syntax)
    array: NDArray[Any] = single.pixel_array
    return array


def _native(dataset: Dataset, index: int) -> NDArray[Any]:
    samples = int(dataset.get("SamplesPerPixel", 1))
    shape = (int(dataset.Rows), int(dataset.Columns)) + ((samples,) if samples > 1 else ())
    pixels = int(np.prod(shape))
    if dataset.BitsAllocated == 1:
        first = index * pixels
        packed = np.frombuffer(dataset.PixelData, np.uint8)[first // 8 : (first + pixels + 7) // 8]
        return np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + pixels].reshape(shape)
    order = ">" if syntax_of(dataset) == ExplicitVRBigEndian else "<"
    dtype = np.dtype(f"{order}{'i' if dataset.PixelRepresentation else 'u'}{int(dataset.BitsAllocated) // 8}")
    raw = np.frombuffer(dataset.PixelData, dtype, count=pixels, offset=index * pixels * dtype.itemsize)
    if samples > 1 and int(dataset.get("PlanarConfiguration") or 0) == 1:
        return raw.reshape((samples, *shape[:2])).transpose(1, 2, 0)
    unused = int(dataset.BitsAllocated) - int(dataset.BitsStored)
    return ((raw << unused) >> unused if 0 < unused < 16 else raw).reshape(shape)


def _single(dataset: Dataset, index: int, syntax: UID) -> Dataset:
    """One encapsulated frame as a dataset of its own."""
    single = Dataset()
    for keyword in _IMAGE_MODULE:
        if keyword in dataset:
            setattr(single, keyword, dataset[keyword].value)
    single.PixelData = encapsulate([_stored_frame(dataset, index)])
    single["PixelData"].VR = "OB"
    single["PixelData"].is_undefined_length = True
    single.file_meta = FileMetaDataset()
    single.file_meta.TransferSyntaxUID = syntax
    return single


def _by_gdcm(dataset: Dataset, index: int) -> NDArray[Any]:
    """JPEG Lossless and JPEG-LS, which pydicom cannot decode here; GDCM would apply a rescale, so there is none."""
    import SimpleITK as sitk

    single = _single(dataset, index, syntax_of(dataset))
    colour = int(dataset.get("SamplesPerPixel", 1)) > 1
    single.SOPClassUID = SecondaryCaptureImageStorage if colour else CTImageStorage
    if not colour:
        single.RescaleSlope, single.RescaleIntercept = 1, 0
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        single.save_as(file.name, enforce_file_format=True)
        array = sitk.GetArrayFromImage(sitk.ReadImage(file.name))
    kind = f"<{'i' if dataset.PixelRepresentation else 'u'}{int(dataset.BitsAllocated) // 8}"
    return np.asarray(array[0] if array.ndim > 2 + colour else array).astype(kind)
