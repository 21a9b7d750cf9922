"""What lies at a path: files, folders, archives, media and volumes, and why something is refused."""

import gc
import os
import random
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.fileset import FileSet

from dicom_maker import damage, make_series, slice_pixels
from pneumoscope.errors import (
    InputNotFound,
    NothingReadable,
    UnreadableVolume,
    UnsafeArchive,
)
from pneumoscope.pipeline import load_path
from support import refusal


def test_nothing_there_is_said(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent").code == "input-not-found"
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert isinstance(refusal(tmp_path / "link"), InputNotFound)


def test_empty_folder_is_said(tmp_path: Path) -> None:
    assert "empty" in str(refusal(tmp_path))


def test_what_may_not_be_opened_is_said() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others as a whole
        folder, euid = Path(name) / "study", os.geteuid()
        make_series(folder, slices=2)
        Path(name).chmod(0o755)
        folder.chmod(0)
        try:
            os.seteuid(65534 if euid == 0 else euid)  # the administrator may open anything
            assert refusal(folder).code == "no-permission"
        finally:
            os.seteuid(euid)
            folder.chmod(0o700)


def test_unrelated_files_are_counted_and_quick(tmp_path: Path) -> None:
    for n in range(10_000):
        (tmp_path / f"{n}.txt").write_bytes(b"x" * 200)
    fault = refusal(tmp_path)
    assert isinstance(fault, NothingReadable)
    assert "10000 not DICOM" in str(fault)


def test_nested_and_mixed_folder_is_read(tmp_path: Path) -> None:
    make_series(tmp_path / "a" / "b", names="{k}")
    (tmp_path / "readme.txt").write_text("not an image")
    (tmp_path / "a" / "thumbs.db").write_bytes(b"\0" * 500)
    volume, _ = load_path(tmp_path)
    assert volume.hu.shape == (24, 128, 128)


def test_zip_reads_like_its_folder(tmp_path: Path) -> None:
    files = make_series(tmp_path / "study")
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"deep/er/{file.name}")
    assert np.array_equal(load_path(tmp_path / "study.zip")[0].hu, load_path(tmp_path / "study")[0].hu)


@pytest.mark.parametrize("name", ["../evil.dcm", "/etc/evil.dcm", "a/../../evil.dcm", "..\\evil.dcm"])
def test_zip_that_escapes_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name, b"x")
    fault = refusal(tmp_path / "x.zip")
    assert (type(fault), fault.code) == (UnsafeArchive, "archive-escapes")


def test_zip_bomb_is_refused_while_unpacking(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("big", "w") as member:
        for _ in range(80):
            member.write(bytes(2**20))
    assert refusal(tmp_path / "x.zip").code == "archive-bomb"


def test_link_in_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert refusal(tmp_path / "x.zip").code == "archive-link"


def test_damaged_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"x" * 10_000)
    damage(tmp_path / "x.zip", keep=0.5)
    assert refusal(tmp_path / "x.zip").code == "damaged-archive"


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_packed_bytes_are_damaged_is_refused(tmp_path: Path, packing: int) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("a", random.Random(0).randbytes(10_000))
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    assert refusal(path).code == "damaged-archive"


@pytest.mark.parametrize("name", [".", "./.", ""])
def test_a_member_without_a_name_is_refused(tmp_path: Path, name: str) -> None:
    member = zipfile.ZipInfo("x")
    member.filename = name
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(member, b"x")
    assert refusal(tmp_path / "x.zip").code == "archive-escapes"


def test_a_zip_whose_members_lie_before_its_start_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"x")
    content = bytearray((tmp_path / "x.zip").read_bytes())
    end = content.find(b"PK\x05\x06")
    content[end + 16 : end + 20] = (2**31 - 1).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(content)
    assert refusal(tmp_path / "x.zip").code == "damaged-archive"


def test_a_name_in_a_zip_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("\u00e9\u00e9", b"x")
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace("\u00e9\u00e9".encode(), b"\xff\xfe\xff\xfe"))
    assert refusal(tmp_path / "x.zip").code == "damaged-archive"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # pydicom leaves temporary folders to the garbage collector
def test_dicomdir_medium_is_read(tmp_path: Path) -> None:
    medium = FileSet()
    for file in make_series(tmp_path / "in", slices=20):
        medium.add(file)
    medium.write(tmp_path / "medium")
    del medium
    gc.collect()  # its temporary folder goes with it
    make_series(tmp_path / "medium" / "unlisted", series="2", slices=30)
    for path in (tmp_path / "medium", tmp_path / "medium" / "DICOMDIR"):
        assert len(load_path(path)[0].hu) == 20


def test_broken_dicomdir_falls_back_to_the_files(tmp_path: Path) -> None:
    make_series(tmp_path)
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    assert len(load_path(tmp_path)[0].hu) == 24


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("flip", [False, True])
def test_volume_files_come_feet_first_and_right_side_right(tmp_path: Path, suffix: str, flip: bool) -> None:
    hu = np.stack([slice_pixels(10.0 * k) for k in range(20)]).astype(np.int16)
    hu[:, :, :40] += 5  # tells the patient's right from left
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((2.5, 2.5, 10.0))
    if flip:
        image = sitk.DICOMOrient(image, "RAI")
    sitk.WriteImage(image, str(tmp_path / f"v{suffix}"))
    volume, verdicts = load_path(tmp_path / f"v{suffix}")
    assert verdicts == ()
    assert np.array_equal(volume.hu, np.clip(hu, -1024, None))
    assert volume.instances == ()


def test_volume_file_that_is_not_hu_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((20, 64, 64), np.uint8)), str(tmp_path / "v.nii"))
    assert refusal(tmp_path / "v.nii").code == "not-hu"
    (tmp_path / "w.nii").write_bytes(b"nonsense")
    assert isinstance(refusal(tmp_path / "w.nii"), UnreadableVolume)
