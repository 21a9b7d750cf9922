"""Pictures as others read them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from peers import NAMES, iod_complaints, picture, run, write
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO

from pneumoscope.results.capture import build_captures
from pneumoscope.results.encode import encode
from support import tiny_reading


def one(description: str = "Summary", pixels: np.ndarray | None = None) -> Dataset:
    (ds,) = build_captures(tiny_reading(size=16), [(description, picture() if pixels is None else pixels)])
    return ds


def test_dciodvfy_finds_no_fault(tmp_path: Path) -> None:
    assert iod_complaints(write(one(), tmp_path / "sc.dcm")) == []


def test_dciodvfy_finds_no_fault_without_optional_values(tmp_path: Path) -> None:
    reading = tiny_reading(size=16)
    study = dataclasses.replace(reading.study, PatientAge="", StudyDescription="", StudyID="", PatientBirthDate="")
    reading = dataclasses.replace(reading, volume=dataclasses.replace(reading.volume, study=study))
    (ds,) = build_captures(reading, [("Summary", picture())])
    assert iod_complaints(write(ds, tmp_path / "sc.dcm")) == []


def test_itk_and_pydicom_read_the_same_pixels(tmp_path: Path) -> None:
    path = write(one(), tmp_path / "sc.dcm")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path)).squeeze(), picture())
    assert np.array_equal(dcmread(path).pixel_array, picture())


def test_dcmtk_reads_it(tmp_path: Path) -> None:
    status, said = run("dcmdump", write(one(), tmp_path / "sc.dcm"))
    assert status == 0
    assert "E: " not in said


def test_it_says_that_it_is_not_for_diagnosis_and_holds_no_patient_data() -> None:
    ds = one("Slice 12 with outline")
    assert ds.ImageComments == "Slice 12 with outline. NOT FOR PRIMARY DIAGNOSIS"
    assert "NOT FOR PRIMARY DIAGNOSIS" in ds.SeriesDescription
    assert ds.BurnedInAnnotation == "NO"
    assert list(ds.ImageType[:2]) == ["DERIVED", "SECONDARY"]


def test_pictures_keep_their_order_in_one_series() -> None:
    pictures = [(f"Picture {k}", picture(rows=8 + k)) for k in range(3)]
    captures = build_captures(tiny_reading(size=16), pictures)
    assert [ds.InstanceNumber for ds in captures] == [1, 2, 3]
    assert [ds.Rows for ds in captures] == [8, 9, 10]
    assert len({ds.SeriesInstanceUID for ds in captures}) == 1
    assert len({ds.SOPInstanceUID for ds in captures}) == 3


def test_it_refers_to_its_sources() -> None:
    reading = tiny_reading(size=16)
    assert [item.ReferencedSOPInstanceUID for item in one().SourceImageSequence] == [
        instance.SOPInstanceUID for instance in reading.volume.instances
    ]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_survive(name: str) -> None:
    (ds,) = build_captures(tiny_reading(size=16, PatientName=name), [("x", picture())])
    assert dcmread(DicomBytesIO(encode(ds))).PatientName == name


def test_a_source_once_lossy_makes_the_picture_lossy_for_ever() -> None:
    reading = tiny_reading(size=16)
    lossy = tuple(dataclasses.replace(i, LossyImageCompression="01") for i in reading.volume.instances)
    reading = dataclasses.replace(reading, volume=dataclasses.replace(reading.volume, instances=lossy))
    assert build_captures(reading, [("x", picture())])[0].LossyImageCompression == "01"
    assert "LossyImageCompression" not in one()


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(row, column, 3\) uint8"):
        one(pixels=pixels)


def test_a_volume_without_dicom_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="DICOM sources"):
        build_captures(tiny_reading(size=16, with_dicom=False), [("x", picture())])
