"""Rows of the archive as DICOM JSON (PS3.18 F.2)."""

from collections.abc import Mapping, Sequence
from typing import Any

from pneumoscope.dicomjson import Json, element
from pneumoscope.store.search import SERVED, Level


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
