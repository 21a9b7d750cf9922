"""The confidentiality profile: every attribute of its table, at every depth, and nothing of the original in the bytes."""

import json
import struct
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

from pneumoscope.errors import Rejected
from pneumoscope.phantom import PhantomSpec, dicom_parcels, render
from pneumoscope.server.child.anonymise import PROFILE, action_for, anonymise

SECRET = bytes(range(32))
TABLE = {int(tag, 16): action for action, tags in json.loads(PROFILE.read_text()).items() for tag in tags}
KNOWN = {tag: action for tag, action in TABLE.items() if dictionary_has_tag(tag)}
#: What the files are made of, and what no byte of the result may hold.
MARK = "GEHEIM"
MARKS = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"), MARK),
    **{
        "DA": "19770707",
        "DT": "19770707070707",
        "TM": "070707.7",
        "AS": "077Y",
        "UI": "1.2.777.7.7",
        "DS": "77.77",
        "IS": "7777",
    },
    **dict.fromkeys(("OB", "OW", "UN"), MARK.encode()),
    **dict.fromkeys(("FD", "FL"), 77.5),
    **dict.fromkeys(("US", "SS", "UL", "SL"), 7777),
}
BARE = {"OB or OW": "OB", "US or SS": "US"}


@pytest.fixture(scope="module")
def slices() -> list[bytes]:
    spec = PhantomSpec(slices=2, size_px=64, pixel_spacing_mm=6.0, slice_spacing_mm=5.0)
    return [parcel.content for parcel in dicom_parcels(render(spec), PatientName="Geheim^Anna", PatientID="SECRET-77")]


def opened(content: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(content))


def saved(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def marked(tag: int) -> DataElement:
    vr = BARE.get(dictionary_VR(tag), dictionary_VR(tag))
    if vr != "SQ":
        return DataElement(tag, vr, MARKS[vr])
    item = Dataset()
    item.PatientComments, item.ReferencedSOPInstanceUID = MARK, MARKS["UI"]
    return DataElement(tag, "SQ", [item])


def everything() -> Dataset:
    found = Dataset()
    for tag in KNOWN:
        if tag >> 16 not in (0x0000, 0x0002, 0x0004) and Tag(tag).element:
            found.add(marked(tag))
    return found


def check(element: DataElement | None, action: str, where: str) -> None:
    """What PS3.15 E.3 says of each letter; of several, any will do."""
    if element is None:
        assert "X" in action, where
    elif element.VR == "SQ" and "U" in action:
        assert [len(item) for item in element.value] == [1], where  # the comment has gone, the reference has not
        assert element.value[0].ReferencedSOPInstanceUID.startswith("2.25."), where
    elif element.is_empty:
        assert "Z" in action, where
    elif element.VR == "UI":
        assert set(action) & {"U", "D"}, where
        assert element.value.startswith("2.25."), where
    else:
        assert "D" in action, where
        assert not element.value or MARK not in str(element.value), where


@pytest.mark.filterwarnings("ignore:.*value.*:UserWarning")
def test_every_attribute_of_the_table_at_every_depth(slices: list[bytes]) -> None:
    dataset = opened(slices[0])
    needed = {Tag(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID")}
    dataset.update({tag: element for tag, element in everything().items() if tag not in needed})
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    dataset.SharedFunctionalGroupsSequence[0].CTExposureSequence = [everything()]
    content = anonymise(saved(dataset), SECRET)
    result = opened(content)
    inner = result.SharedFunctionalGroupsSequence[0].CTExposureSequence[0]
    own = {"PatientName", "PatientID"}
    for tag in everything():
        element = tag.tag
        if pydicom.datadict.keyword_for_tag(element) not in own:
            check(result.get(element), KNOWN[element], f"{element} {KNOWN[element]}")
        check(inner.get(element), KNOWN[element], f"nested {element} {KNOWN[element]}")
    for mark in (MARK, "Geheim", "SECRET", *(MARKS[vr] for vr in ("DA", "DT", "UI", "TM", "AS")), "20200301"):
        assert mark.encode() not in content, mark
    assert len(TABLE) == 652
    assert len(KNOWN) > 600


@pytest.mark.filterwarnings("ignore:.*value.*:UserWarning")
def test_private_attributes_overlays_curves_and_unknown_ones_are_gone(slices: list[bytes]) -> None:
    dataset = opened(slices[0])
    block = dataset.private_block(0x0029, "GEHEIM AG", create=True)
    block.add_new(0x10, "LO", MARK)
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60003000, "OW", MARK.encode())
    dataset.add_new(0x60024000, "LT", MARK)
    dataset.add_new(0x50003000, "OW", MARK.encode())
    dataset.add_new(0x00100014, "LO", MARK)  # of a later edition than the dictionary
    dataset[0x52009229] = DataElement(0x52009229, "OB", MARK.encode())  # items that nothing can look into
    dataset.file_meta.SourceApplicationEntityTitle = MARK
    dataset.preamble = MARK.encode().ljust(128, b"\0")
    content = anonymise(saved(dataset), SECRET)
    assert MARK.encode() not in content
    assert not [tag for tag in opened(content) if tag.tag.group in (0x0029, 0x5000, 0x6000, 0x6002)]


def test_names_of_files_on_a_medium_are_gone(slices: list[bytes]) -> None:
    """Elements of a DICOMDIR (group 0004) stand before all others, where a writer lets them stand."""
    end_of_meta = 144 + int.from_bytes(slices[0][140:144], "little")
    element = struct.pack("<HH2sH", 0x0004, 0x1500, b"CS", 8) + f"{MARK}  ".encode()
    content = slices[0][:end_of_meta] + element + slices[0][end_of_meta:]
    assert opened(content).ReferencedFileID == MARK
    assert MARK.encode() not in anonymise(content, SECRET)


@pytest.mark.parametrize(
    ("syntax", "high_bit", "order"),
    [(ExplicitVRLittleEndian, 11, "<"), (ExplicitVRBigEndian, 11, ">"), (ExplicitVRLittleEndian, 15, "<")],
)
def test_overlays_within_the_pixels_are_gone_and_the_image_is_not(
    slices: list[bytes], syntax: str, high_bit: int, order: str
) -> None:
    dataset = opened(slices[0])
    stored = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 4096
    words = np.zeros((64, 64), np.uint16)
    words[:8, :48] = np.unpackbits(np.frombuffer(MARK.encode(), np.uint8)).reshape(1, 48)
    shift, overlay_bit = high_bit - 11, 15 if high_bit == 11 else 0
    dataset.BitsStored, dataset.HighBit = 12, high_bit
    dataset.PixelData = (stored << shift | words << overlay_bit).astype(f"{order}u2").tobytes()
    dataset.add_new(0x60000010, "US", 64)
    dataset.add_new(0x60000011, "US", 64)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", overlay_bit)
    buffer = BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=order == "<")
    after = opened(anonymise(buffer.getvalue(), SECRET))
    pixels = np.frombuffer(after.PixelData, f"{order}u2").reshape(64, 64)
    assert np.array_equal(pixels, stored << shift)


def test_it_says_what_was_done_and_leaves_the_pixels(slices: list[bytes]) -> None:
    before, after = opened(slices[0]), opened(anonymise(slices[0], SECRET))
    assert np.array_equal(after.pixel_array, before.pixel_array)
    assert (after.PatientIdentityRemoved, after.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")
    code = after.DeidentificationMethodCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID != before.SOPInstanceUID
    for keyword in ("ImagePositionPatient", "PixelSpacing", "RescaleIntercept", "ImageType", "KVP", "InstanceNumber"):
        assert after[keyword].value == before[keyword].value


def test_compressed_pixels_stay_as_they_are(slices: list[bytes]) -> None:
    dataset = opened(slices[0])
    dataset.compress(RLELossless, generate_instance_uid=False)
    after = opened(anonymise(saved(dataset), SECRET))
    assert after.file_meta.TransferSyntaxUID == RLELossless
    assert after.PixelData == dataset.PixelData


def test_what_belongs_together_does_so_under_one_secret_alone(slices: list[bytes]) -> None:
    one, two = (opened(anonymise(content, SECRET)) for content in slices)
    other = opened(anonymise(slices[0], bytes(32)))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert one[keyword].value == two[keyword].value != other[keyword].value
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert anonymise(slices[0], SECRET) == anonymise(slices[0], SECRET)


def compressed_with_an_overlay_inside(dataset: Dataset) -> None:
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.add_new(0x60000102, "US", 15)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda dataset: setattr(dataset, "SOPClassUID", SecondaryCaptureImageStorage), "not-anonymised"),
        (lambda dataset: setattr(dataset, "BurnedInAnnotation", "YES"), "burned-in-text"),
        (lambda dataset: setattr(dataset, "ImageType", ["DERIVED", "SECONDARY", "SCREEN SAVE"]), "burned-in-text"),
        (lambda dataset: setattr(dataset, "ImageType", ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]), "burned-in-text"),
        (lambda dataset: setattr(dataset, "ImageType", ["DERIVED", "SECONDARY", "DOSE_INFO"]), "burned-in-text"),
        (lambda dataset: delattr(dataset, "PixelData"), "not-anonymised"),
        (compressed_with_an_overlay_inside, "burned-in-text"),
    ],
)
def test_what_may_show_a_name_is_refused(slices: list[bytes], change, code: str) -> None:
    dataset = opened(slices[0])
    change(dataset)
    with pytest.raises(Rejected) as caught:
        anonymise(saved(dataset), SECRET)
    assert caught.value.code == code


def test_what_is_no_dicom_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        anonymise(b"Geheim", SECRET)
    assert caught.value.code == "not-dicom"


def test_actions_of_groups() -> None:
    assert [action_for(Tag(tag)) for tag in (0x00091010, 0x60FF3000, 0x50200010, 0x00080000, 0x00180060)] == ["X"] * 4 + ["K"]
