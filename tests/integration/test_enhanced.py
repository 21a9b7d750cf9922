"""Multi-frame CT reads like the single-frame study it was made of."""

import random
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_maker import ROOT, make_enhanced, make_slice, save
from pneumoscope.phantom import PhantomSpec, render, write_dicom
from pneumoscope.pipeline import load_path
from pneumoscope.records import Volume


def loaded(path: Path) -> Volume:
    return load_path(path)[0]


def slices(count: int = 24) -> list[pydicom.Dataset]:
    return [make_slice(k, RescaleIntercept=-k) for k in range(count)]


def same(one: Volume, other: Volume) -> bool:
    return np.array_equal(one.hu, other.hu) and np.allclose(one.origins_mm, other.origins_mm)


def test_frames_come_in_the_order_of_their_positions(tmp_path: Path) -> None:
    for k, single in enumerate(slices()):
        save(single, tmp_path / "single" / f"{k}.dcm")
    shuffled = random.Random(1).sample(slices(), 24)
    path = make_enhanced(shuffled, tmp_path / "enhanced.dcm")
    volume = loaded(path)
    assert same(volume, loaded(tmp_path / "single"))
    assert {instance.SOPInstanceUID for instance in volume.instances} == {f"{ROOT}.7"}
    frames = [instance.frame_index for instance in volume.instances]
    assert [shuffled[frame or 0].ImagePositionPatient[2] for frame in frames] == list(volume.positions_mm)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=lambda uid: uid.keyword)
def test_compressed_frames_are_decoded(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    plain = make_enhanced(slices(), tmp_path / "plain.dcm")
    ds = pydicom.dcmread(plain)
    ds.compress(syntax, generate_instance_uid=False)
    assert same(loaded(save(ds, tmp_path / "compressed.dcm")), loaded(plain))


def item(**elements: object) -> pydicom.Dataset:
    made = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


AGENT = item(CodeValue="C-B0322", CodingSchemeDesignator="SRT", CodeMeaning="Iohexol", ContrastBolusAgentNumber=1)


@pytest.mark.parametrize(
    ("administered", "detected", "warned"), [("YES", "", True), ("NO", "YES", True), ("NO", "NO", False), ("NO", "", False)]
)
@pytest.mark.parametrize("where", ["shared", "frames"])
def test_contrast_that_frames_were_taken_with_is_told_of(
    tmp_path: Path, where: str, administered: str, detected: str, warned: bool
) -> None:
    ds = pydicom.dcmread(make_enhanced(slices(), tmp_path / "enhanced.dcm"))
    ds.ContrastBolusAgentSequence = [AGENT]
    usage = item(ContrastBolusAgentNumber=1, ContrastBolusAgentAdministered=administered, ContrastBolusAgentDetected=detected)
    groups = ds.SharedFunctionalGroupsSequence if where == "shared" else ds.PerFrameFunctionalGroupsSequence[12:]
    for group in groups:
        group.ContrastBolusUsageSequence = [usage]
    if where == "frames":
        for group in ds.PerFrameFunctionalGroupsSequence[:12]:
            group.ContrastBolusUsageSequence = [item(ContrastBolusAgentNumber=1, ContrastBolusAgentAdministered="NO")]
    save(ds, tmp_path / "enhanced.dcm")
    assert ("contrast" in {notice.code for notice in loaded(tmp_path).notices}) == warned


def test_an_agent_is_contrast_where_frames_say_nothing_of_it(tmp_path: Path) -> None:
    ds = pydicom.dcmread(make_enhanced(slices(), tmp_path / "enhanced.dcm"))
    assert "contrast" not in {notice.code for notice in loaded(tmp_path).notices}
    ds.ContrastBolusAgentSequence = [AGENT]
    save(ds, tmp_path / "enhanced.dcm")
    assert "contrast" in {notice.code for notice in loaded(tmp_path).notices}


@pytest.mark.parametrize("agent", ["OMNIPAQUE", ""])
def test_contrast_of_legacy_converted_ct_is_told_of(tmp_path: Path, agent: str) -> None:
    sources = []
    for k in range(24):
        single = make_slice(k, ContrastBolusAgent=agent, PositionReferenceIndicator="", PatientBirthDate="", PatientSex="O")
        single.ReferringPhysicianName = single.AccessionNumber = single.Manufacturer = ""
        sources.append(single)
    converted = LegacyConvertedEnhancedCTImage(
        sources, series_instance_uid=f"{ROOT}.8", series_number=8, sop_instance_uid=f"{ROOT}.8.1", instance_number=1
    )
    converted.save_as(tmp_path / "converted.dcm")
    assert ("contrast" in {notice.code for notice in loaded(tmp_path).notices}) == bool(agent)


def test_legacy_converted_ct_is_read(tmp_path: Path) -> None:
    """Converted by highdicom, whose functional groups are not of our making."""
    write_dicom(
        render(PhantomSpec(slices=30, slice_spacing_mm=9.0, slice_thickness_mm=2.0, size_px=128, pixel_spacing_mm=2.5)),
        tmp_path / "single",
    )
    sources = [pydicom.dcmread(path) for path in (tmp_path / "single").iterdir()]
    converted = LegacyConvertedEnhancedCTImage(
        sources, series_instance_uid=f"{ROOT}.8", series_number=8, sop_instance_uid=f"{ROOT}.8.1", instance_number=1
    )
    converted.save_as(tmp_path / "converted.dcm")
    assert same(loaded(tmp_path / "converted.dcm"), loaded(tmp_path / "single"))
