"""A dataset to the bytes of a file."""

from collections.abc import Iterator, Sequence
from io import BytesIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian


def encode(ds: Dataset) -> bytes:
    """The dataset as a DICOM file (PS3.10), Explicit VR Little Endian."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for part in _with_items(ds):  # so that what is encoded already is written as it is
        part.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=part._character_set)
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def put_encoded(keyword: str, items: Sequence[Dataset], *, into: Sequence[Dataset]) -> None:
    """Set a sequence of many items that several datasets share; encoded once, since that is what the library is slow at."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_sequence(buffer, DataElement(tag, "SQ", items), ["ascii"])
    content = buffer.getvalue()
    for ds in into:
        ds[tag] = RawDataElement(Tag(tag), "SQ", len(content), content, 0, is_implicit_VR=False, is_little_endian=True)


def _with_items(ds: Dataset) -> Iterator[Dataset]:
    """The dataset and every item in it, at any depth, that is not encoded."""
    yield ds
    for element in ds.values():
        if element.VR == "SQ" and not isinstance(element, RawDataElement):
            for item in element.value:
                yield from _with_items(item)
