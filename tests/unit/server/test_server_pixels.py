"""Frames and pictures of kinds that a phantom does not have, against arrays that are known."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from pneumoscope.children.frames import _by_gdcm, open_whole, read_frames, values
from pneumoscope.children.transcode import as_plain
from pneumoscope.errors import Rejected
from pneumoscope.server.child.picture import Look, picture


def write(path: Path, pixels: bytes, **elements: object) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PixelRepresentation = 5, 7, 1, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PhotometricInterpretation = 7, "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated <= 8 else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


def shown(path: Path, number: int = 1, look: Look | None = None) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture(path, number, look or Look(form="png")))))


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_keep_their_place(tmp_path: Path, planar: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)
    stored = rgb.transpose(0, 3, 1, 2) if planar else rgb
    path = write(
        tmp_path / "x.dcm",
        stored.tobytes(),
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=planar,
        NumberOfFrames=2,
    )
    assert np.array_equal(shown(path, 2), rgb[1])
    assert read_frames(path, [2], decode=False).contents == (stored[1].tobytes(),)


def test_frames_of_single_bits_need_not_begin_with_a_byte(tmp_path: Path) -> None:
    bits = np.random.default_rng(2).integers(0, 2, (3, 5, 7)).astype(np.uint8)
    packed = np.packbits(bits, bitorder="little").tobytes()
    path = write(tmp_path / "x.dcm", packed, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=3)
    assert np.array_equal(shown(path, 2), bits[1] * 255)
    (frame,) = read_frames(path, [3], decode=False).contents
    assert np.array_equal(np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:35], bits[2].ravel())


def test_monochrome1_is_shown_white_on_black_as_it_should_be(tmp_path: Path) -> None:
    ramp = np.arange(35, dtype="<u2").reshape(5, 7) * 100
    elements = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "WindowCenter": [1700, 1], "WindowWidth": [3400, 1]}
    normal = write(tmp_path / "a.dcm", ramp.tobytes(), **elements)
    inverse = write(tmp_path / "b.dcm", ramp.tobytes(), **elements, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(shown(normal), 255 - shown(inverse))
    assert shown(normal)[0, 0] < 5 < 250 < shown(normal)[-1, -1]


def test_windows_are_those_of_the_standard(tmp_path: Path) -> None:
    ramp = (np.arange(35, dtype="<i2").reshape(5, 7) - 17) * 50
    path = write(tmp_path / "x.dcm", ramp.tobytes(), BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=1)
    x = ramp.astype(float)
    for function, expected in (
        ("linear", (x - (10 - 0.5)) / (400 - 1) + 0.5),
        ("linear-exact", (x - 10) / 400 + 0.5),
        ("sigmoid", 1 / (1 + np.exp(-4 * (x - 10) / 400))),
    ):
        got = shown(path, look=Look(form="png", window=(10.0, 400.0, function)))
        assert np.abs(got - 255 * np.clip(expected, 0, 1)).max() <= 0.51, function
    assert Image.open(BytesIO(picture(path, 1, Look(viewport=(70, 70), quality=10)))).size == (70, 50)


def test_jpeg_lossless_is_decoded_by_gdcm(tmp_path: Path) -> None:
    array = np.random.default_rng(3).integers(0, 3000, (64, 48)).astype(np.uint16)
    path = tmp_path / "x.dcm"
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.Execute(sitk.GetImageFromArray(array))
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    found = read_frames(path, [1], decode=True)
    assert not found.stored
    assert np.array_equal(np.frombuffer(found.contents[0], "<u2").reshape(array.shape), array)
    assert np.array_equal(pydicom.dcmread(BytesIO(as_plain(path))).pixel_array, array)
    assert read_frames(path, [1], decode=False).stored


def test_jpeg_ls_of_signed_values_is_the_same_by_both_decoders(tmp_path: Path) -> None:
    array = np.random.default_rng(4).integers(-1000, 3000, (16, 16)).astype("<i2")
    size = {"Rows": 16, "Columns": 16, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}
    path = write(tmp_path / "x.dcm", array.tobytes(), **size)
    dataset = pydicom.dcmread(path)
    dataset.compress("1.2.840.10008.1.2.4.80", generate_instance_uid=False)
    dataset.save_as(path)
    opened = open_whole(path)
    assert np.array_equal(values(opened, 0), array)
    assert np.array_equal(_by_gdcm(opened, 0), array)


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", bytes(35))
    dataset = pydicom.dcmread(path)
    for change, code in (
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not-shown"),
        ({"Rows": 65535, "Columns": 65535}, "frame-too-large"),
        ({"Rows": 0}, "frame-too-large"),
    ):
        for keyword, value in change.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
        with pytest.raises(Rejected) as fault:
            picture(path, 1, Look())
        assert fault.value.code == code
    del dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(Rejected) as fault:
        read_frames(path, [1], decode=False)
    assert fault.value.code == "no-pixels"
