"""Small CT series as files, with any of the faults that real ones have."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.77"


def slice_pixels(height_mm: float, *, size: int = 128) -> np.ndarray:
    """HU of a body with two lungs; each height differs a little, so that slices can be told apart."""
    y, x = np.ogrid[:size, :size]
    c = (size - 1) / 2
    hu = np.full((size, size), -1000.0)
    hu[((x - c) / (0.45 * size)) ** 2 + ((y - c) / (0.33 * size)) ** 2 < 1] = 40
    for side in (-1, 1):
        hu[((x - c - side * 0.2 * size) / (0.13 * size)) ** 2 + ((y - c) / (0.22 * size)) ** 2 < 1] = -850
    hu[size // 2, size // 2] = round(height_mm) % 1000
    return hu


def make_slice(k: int, *, step_mm: float = 5.0, series: str = "1", study: str = "1", **elements: Any) -> Dataset:
    """Slice number k of a series; ``elements`` override or, when None, remove."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = CTImageStorage
    ds.StudyInstanceUID = f"{ROOT}.{study}"
    ds.SeriesInstanceUID = f"{ROOT}.{study}.{series}"
    ds.SOPInstanceUID = f"{ROOT}.{study}.{series}.{k + 1}"
    ds.FrameOfReferenceUID = f"{ROOT}.{study}.99"
    ds.Modality = "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientName = "Secret^Name"
    ds.PatientID = "SECRET-ID"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20200301", "101500", "1"
    ds.SeriesNumber = int(series)
    ds.SeriesDescription = f"Series {series}"
    ds.InstanceNumber = k + 1
    ds.AcquisitionNumber = 1
    ds.SliceThickness = step_mm
    ds.ConvolutionKernel = "B40f"
    ds.ImagePositionPatient = [-175.0, -175.0, k * step_mm]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [2.75, 2.75] if "PixelSpacing" in elements else [2.4, 2.4]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = ds.Columns = 128
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.PixelData = slice_pixels(k * step_mm).astype("<i2").tobytes()
    for keyword, value in elements.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def make_series(folder: Path, *, slices: int = 24, names: str = "{k:04d}.dcm", **elements: Any) -> list[Path]:
    """Write a whole series and return its files, feet first."""
    return [save(make_slice(k, **elements), folder / names.format(k=k)) for k in range(slices)]


def damage(path: Path, *, keep: float) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def make_enhanced(singles: list[Dataset], path: Path) -> Path:
    """One Enhanced CT file of the slices given, each frame in its own functional groups, in the order given."""
    first = singles[0]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    shared_by_all = (
        *("SpecificCharacterSet", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType"),
        *("PatientName", "PatientID", "StudyDate", "StudyTime", "StudyID", "SeriesNumber", "SeriesDescription"),
        *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
        "PixelRepresentation",
    )
    for keyword in shared_by_all:
        setattr(ds, keyword, first[keyword].value)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.7"
    ds.InstanceNumber, ds.NumberOfFrames = 1, len(singles)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_picked(first, "PixelSpacing", "SliceThickness")]
    shared.PlaneOrientationSequence = [_picked(first, "ImageOrientationPatient")]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = []
    for single in singles:
        own = Dataset()
        own.PlanePositionSequence = [_picked(single, "ImagePositionPatient")]
        own.PixelValueTransformationSequence = [_picked(single, "RescaleSlope", "RescaleIntercept")]
        ds.PerFrameFunctionalGroupsSequence.append(own)
    ds.PixelData = b"".join(single.PixelData for single in singles)
    return save(ds, path)


def _picked(source: Dataset, *keywords: str) -> Dataset:
    item = Dataset()
    for keyword in keywords:
        setattr(item, keyword, source[keyword].value)
    return item
