"""Rows of the archive as DICOM JSON (PS3.18 F.2)."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from pneumoscope.store.search import SERVED, Level

Json = dict[str, Any]
_NUMBERS = {"IS", "US"}


def tag(keyword: str) -> str:
    """Eight hexadecimal digits."""
    found = tag_for_keyword(keyword)
    assert found is not None, keyword
    return f"{found:08X}"


def element(keyword: str, *values: object) -> Json:
    """One attribute; one without values is an empty one."""
    vr = dictionary_VR(keyword)
    kept = [_value(vr, value) for value in values if value not in (None, "")]
    return {tag(keyword): {"vr": vr, "Value": kept} if kept else {"vr": vr}}


def dataset(row: Mapping[str, Any], *, level: Level, root: str, modalities: Sequence[str] = ()) -> Json:
    """A study, series or instance as a search gives it."""
    content: Json = element("SpecificCharacterSet", "ISO_IR 192")
    for keyword in SERVED[level]:
        if keyword in row:
            content |= element(keyword, row[keyword])
    if level is Level.STUDY:
        content |= element("ModalitiesInStudy", *modalities)
    if level is Level.INSTANCE:
        content |= element("AvailableTransferSyntaxUID", row["TransferSyntaxUID"])
    place = f"{root}/studies/{row['StudyInstanceUID']}"
    if level >= Level.SERIES:
        place += f"/series/{row['SeriesInstanceUID']}"
    if level is Level.INSTANCE:
        place += f"/instances/{row['SOPInstanceUID']}"
    content |= element("InstanceAvailability", "ONLINE") | element("RetrieveURL", place)
    return dict(sorted(content.items()))


def _value(vr: str, value: object) -> object:
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), str(value).split("="), strict=False)
        return {name: group for name, group in groups if group}
    if vr in _NUMBERS:
        return int(str(value))
    return value
