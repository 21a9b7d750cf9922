"""A phantom as the files a scanner would send."""

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from pneumoscope.phantom.lesions import Lesion, LesionKind
from pneumoscope.phantom.render import Phantom, PhantomSpec
from pneumoscope.records import Parcel


class Order(StrEnum):
    """How file names and instance numbers run."""

    FEET_FIRST = "feet-first"
    HEAD_FIRST = "head-first"
    SHUFFLED = "shuffled"


#: The study that the demo reads: ground-glass in both lungs, mostly at the back and below, and one consolidation.
SAMPLE = PhantomSpec(
    lesions=(
        Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(-112.0, 38.0, 95.0), volume_ml=85.0, seed=1, roughness=0.4),
        Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(-95.0, 55.0, 160.0), volume_ml=40.0, seed=2, roughness=0.5),
        Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(108.0, 45.0, 110.0), volume_ml=60.0, seed=3, roughness=0.4),
        Lesion(kind=LesionKind.CONSOLIDATION, centre_mm=(88.0, 66.0, 70.0), volume_ml=25.0, seed=4, roughness=0.3),
        Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(-70.0, -45.0, 205.0), volume_ml=15.0, seed=5, roughness=0.4),
    )
)


def write_dicom(
    phantom: Phantom,
    folder: Path,
    *,
    order: Order = Order.HEAD_FIRST,
    PatientName: str = "Phantom^Chest",
    PatientID: str = "PHANTOM",
    SeriesDescription: str = "Thorax B40f",
) -> int:
    """Write one CT Image file a slice and return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    parcels = dicom_parcels(
        phantom, order=order, PatientName=PatientName, PatientID=PatientID, SeriesDescription=SeriesDescription
    )
    for parcel in parcels:
        (folder / parcel.name).write_bytes(parcel.content)
    return phantom.spec.slices


def dicom_parcels(
    phantom: Phantom,
    *,
    order: Order = Order.HEAD_FIRST,
    PatientName: str = "Phantom^Chest",
    PatientID: str = "PHANTOM",
    SeriesDescription: str = "Thorax B40f",
) -> Iterator[Parcel]:
    """One CT Image file a slice."""
    spec = phantom.spec
    count = spec.slices
    sequence = {
        Order.FEET_FIRST: np.arange(count),
        Order.HEAD_FIRST: np.arange(count)[::-1],
        Order.SHUFFLED: np.random.default_rng(spec.seed).permutation(count),
    }[order]
    dataset = _common(spec, PatientName=PatientName, PatientID=PatientID, SeriesDescription=SeriesDescription)
    corner_mm = -(spec.size_px - 1) / 2 * spec.pixel_spacing_mm
    for number, k in enumerate(sequence):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = _uid(spec, f"instance {k}")
        dataset.InstanceNumber = number + 1
        position_mm = round(float(spec.positions_mm[k]), 4)
        dataset.ImagePositionPatient = [round(corner_mm, 4), round(corner_mm, 4), position_mm]
        dataset.SliceLocation = position_mm
        dataset.PixelData = (phantom.hu[k].astype(np.int32) + 1024).astype("<u2").tobytes()
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        yield Parcel(name=f"{number + 1:04d}.dcm", media_type="application/dicom", content=buffer.getvalue())


def _uid(spec: PhantomSpec, what: str) -> UID:
    """A UID under the UUID root (PS3.5 B.2) that is the same for the same spec."""
    digest = hashlib.sha256(f"{spec!r} {what}".encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def _common(spec: PhantomSpec, *, PatientName: str, PatientID: str, SeriesDescription: str) -> Dataset:
    """What all slices share."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20200301"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101500"
    dataset.AccessionNumber = ""
    dataset.Modality = "CT"
    dataset.Manufacturer = "Pneumoscope"
    dataset.ManufacturerModelName = "Phantom"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "CT Chest"
    dataset.SeriesDescription = SeriesDescription
    dataset.PatientName = PatientName
    dataset.PatientID = PatientID
    dataset.PatientBirthDate = "19600102"
    dataset.PatientSex = "O"
    dataset.PatientAge = "060Y"
    dataset.BodyPartExamined = "CHEST"
    dataset.SliceThickness = spec.slice_thickness_mm or spec.slice_spacing_mm
    dataset.KVP = 120
    dataset.ConvolutionKernel = "B40f"
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = _uid(spec, f"study {PatientID}")
    dataset.SeriesInstanceUID = _uid(spec, f"series {PatientID} {SeriesDescription}")
    dataset.StudyID = "1"
    dataset.SeriesNumber = 2
    dataset.AcquisitionNumber = 1
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.FrameOfReferenceUID = _uid(spec, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = spec.size_px
    dataset.PixelSpacing = [spec.pixel_spacing_mm, spec.pixel_spacing_mm]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = -600, 1500
    return dataset
