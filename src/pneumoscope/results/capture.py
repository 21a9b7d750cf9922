"""Pictures as Secondary Capture images, for viewers that show nothing else (PS3.3 A.8.1)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from pneumoscope import codes
from pneumoscope.records import Reading
from pneumoscope.results.encode import put_encoded
from pneumoscope.results.header import Kind, code_item, new_result
from pneumoscope.results.source import file_references
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS


def build_captures(reading: Reading, pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> list[Dataset]:
    """One image per (description, picture), in one series, in the order given, without loss.

    A picture is (row, column, 3) RGB and has "NOT FOR PRIMARY DIAGNOSIS" burned in, but no patient data.
    """
    captures = [
        _capture(reading, description, picture, InstanceNumber=number)
        for number, (description, picture) in enumerate(pictures, start=1)
    ]
    put_encoded("SourceImageSequence", _sources(reading), into=captures)
    return captures


def _capture(reading: Reading, description: str, picture: NDArray[np.uint8], *, InstanceNumber: int) -> Dataset:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"a picture is (row, column, 3) uint8, not {picture.shape} {picture.dtype}")
    ds = new_result(reading, Kind.PICTURES, SecondaryCaptureImageStorage, InstanceNumber=InstanceNumber)
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.BodyPartExamined = "CHEST"  # not one of a pair, so that no Laterality is asked for
    ds.PatientOrientation = ""
    ds.ImageComments = f"{description}. {NOT_FOR_DIAGNOSIS}"
    ds.DerivationDescription = "Picture made by an algorithm from the source images"
    ds.BurnedInAnnotation = "NO"
    if reading.volume.instances[0].LossyImageCompression:
        ds.LossyImageCompression = reading.volume.instances[0].LossyImageCompression  # once lossy, lossy for ever
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = picture.shape[:2]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    pixels = picture.tobytes()
    ds.PixelData = pixels + b"\0" * (len(pixels) % 2)
    ds["PixelData"].VR = "OB"
    return ds


def _sources(reading: Reading) -> list[Dataset]:
    items = file_references(reading.volume.instances)
    purpose = code_item(codes.SOURCE_IMAGE)
    for item in items:
        item.PurposeOfReferenceCodeSequence = [purpose]
    return items
