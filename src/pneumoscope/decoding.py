"""Pixels of one image to HU."""

import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels.utils import get_j2k_parameters, pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
)

from pneumoscope.records import Instance

HTJ2K_SYNTAXES = (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
JPEG_2000_SYNTAXES = (*HTJ2K_SYNTAXES, JPEG2000, JPEG2000Lossless)
#: Air. Paddings below it (-2048, -3024, ...) stand for places the scanner did not see and count as air.
AIR_HU = -1024
MAX_HU = 32767
#: Bits Allocated of pixels that are read as they lie in a file; once 12 were allowed too, two pixels in three bytes.
PLAIN_BITS = (8, 16, 32)
#: What reading damaged pixels raises: GDCM through SimpleITK, pydicom, numpy, the file system.
DECODE_FAULTS = (
    *(RuntimeError, ValueError, OSError, EOFError, AttributeError, KeyError, NotImplementedError, IndexError),
    MemoryError,  # it says that it is larger than it may be
)


def decode_hu(instance: Instance) -> NDArray[np.int16]:
    """(row, column) HU of one instance, clipped to what air and int16 allow. Raises one of ``DECODE_FAULTS``."""
    if instance.HighBit not in (None, instance.BitsStored - 1):  # PS3.5 8.1.1; some mean it and some do not
        raise ValueError("the header contradicts itself on which bits hold the pixels")
    if instance.TransferSyntaxUID in JPEG_2000_SYNTAXES:
        _check_sign(instance)
    if instance.pixel_offset is not None:
        raw = _plain(instance)
    elif instance.TransferSyntaxUID in HTJ2K_SYNTAXES:  # beyond GDCM
        raw = pixel_array(instance.path, index=instance.frame_index or 0)
    elif instance.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        # pixel_array on a path does not inflate
        raw = pixel_array(pydicom.dcmread(instance.path), index=instance.frame_index or 0)
    elif instance.frame_index is None and instance.PhotometricInterpretation != "MONOCHROME1":
        raw = _compressed(instance.path, instance)
    else:
        raw = _compressed_frame(instance)
    if raw.shape != (instance.Rows, instance.Columns):
        raise ValueError("pixel data of another size than announced")
    return _to_hu(raw, instance)


def _check_sign(instance: Instance) -> None:
    """Values of a codestream that has a sign where the header has none, or the reverse, are anybody's guess (PS3.5 8.2.4)."""
    told = get_j2k_parameters(_frame(pydicom.dcmread(instance.path), instance))
    if told and told["is_signed"] != bool(instance.PixelRepresentation):
        raise ValueError("the header contradicts the codestream on whether pixels have a sign")


def _frame(dataset: pydicom.Dataset, instance: Instance) -> bytes:
    frames = int(dataset.get("NumberOfFrames") or 1)
    return get_frame(dataset.PixelData, instance.frame_index or 0, number_of_frames=frames)


def _plain(instance: Instance) -> NDArray[np.generic]:
    """Pixels that lie in the file as they are."""
    order = ">" if instance.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    kind = "i" if instance.PixelRepresentation else "u"
    if instance.BitsAllocated not in PLAIN_BITS:
        raise ValueError("pixels that do not lie in whole bytes of their own")
    dtype = np.dtype(f"{order}{kind}{instance.BitsAllocated // 8}")
    count = instance.Rows * instance.Columns
    assert instance.pixel_offset is not None
    offset = instance.pixel_offset + (instance.frame_index or 0) * count * dtype.itemsize
    raw: NDArray[np.generic] = np.fromfile(instance.path, dtype=dtype, count=count, offset=offset)
    if raw.size != count:
        raise EOFError("pixel data end early")
    unused = instance.BitsAllocated - instance.BitsStored
    if unused > 0:  # the bits above BitsStored may hold overlays, or nothing meant
        raw = (raw << unused) >> unused  # type: ignore[operator]
    return raw.reshape(instance.Rows, instance.Columns)


def _compressed(path: Path, instance: Instance) -> NDArray[np.generic]:
    """Encapsulated pixels through GDCM, which applies the rescale itself: undone here, so that all paths meet in one place."""
    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
    slope, intercept = instance.RescaleSlope or 1.0, instance.RescaleIntercept or 0.0
    raw: NDArray[np.generic] = np.rint((hu - intercept) / slope).astype(np.int32)
    return raw


def _compressed_frame(instance: Instance) -> NDArray[np.generic]:
    """One encapsulated frame, by way of a single-frame file of its own: of many, or of MONOCHROME1, which SimpleITK inverts."""
    dataset = pydicom.dcmread(instance.path)
    single = pydicom.Dataset()
    for keyword in (
        *("SOPInstanceUID", "SamplesPerPixel", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    ):
        setattr(single, keyword, dataset[keyword].value)
    single.PhotometricInterpretation = "MONOCHROME2"  # which way up the values are shown does not matter
    single.SOPClassUID = pydicom.uid.CTImageStorage
    single.RescaleSlope, single.RescaleIntercept = 1, 0
    single.PixelData = pydicom.encaps.encapsulate([_frame(dataset, instance)])
    single["PixelData"].is_undefined_length = True
    single.file_meta = pydicom.dataset.FileMetaDataset()
    single.file_meta.TransferSyntaxUID = pydicom.uid.UID(instance.TransferSyntaxUID)
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        single.save_as(file.name, enforce_file_format=True)
        raw: NDArray[np.generic] = sitk.GetArrayFromImage(sitk.ReadImage(file.name))[0]
    return raw


def _to_hu(raw: NDArray[np.generic], instance: Instance) -> NDArray[np.int16]:
    slope, intercept = instance.RescaleSlope or 1.0, instance.RescaleIntercept or 0.0
    if slope == 1.0 and intercept == round(intercept) and raw.dtype.itemsize <= 4:
        hu = np.add(raw, int(intercept), dtype=np.int32, casting="unsafe")
    else:
        hu = np.rint(np.asarray(raw, dtype=np.float64) * slope + intercept)
    clipped: NDArray[np.int16] = np.clip(hu, AIR_HU, MAX_HU).astype(np.int16)
    if instance.PixelPaddingValue is not None:
        clipped[raw == instance.PixelPaddingValue] = AIR_HU
    return clipped
