"""The header of a file as DICOM JSON (PS3.18 F): large values by reference, pixel data always; and where its frames lie."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pneumoscope.server.child.spans import Span, frame_spans

#: Stands for the DICOMweb root, which depends on how the server is called.
ROOT = "urn:dicomweb-root"
#: Longer binary values go by reference.
INLINE_BYTES = 1024
_PIXELS = {b"\xe0\x7f\x10\x00", b"\xe0\x7f\x09\x00", b"\xe0\x7f\x08\x00", b"\x7f\xe0\x00\x10"}
_BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW"}


class Described(NamedTuple):
    """``frames``: (offset, length) in bytes of each frame as a client may have it as stored; none where they must be made."""

    json: bytes
    frames: tuple[Span, ...]


def describe(files: list[tuple[str, str]]) -> list[Described | None]:
    """What is in each (path, path below the DICOMweb root); None for one that cannot be parsed."""
    return [_describe(Path(path), place) for path, place in files]


def _describe(path: Path, place: str) -> Described | None:
    try:
        dataset, has_pixels = open_header(path)
        if not place.endswith(f"/{dataset.SOPInstanceUID}"):
            return None
        addresses: dict[int, str] = {}
        _find_large(dataset, "", addresses)
        content = dataset.to_json_dict(
            bulk_data_threshold=INLINE_BYTES * 4 // 3,
            bulk_data_element_handler=lambda element: f"{ROOT}{place}/bulkdata/{addresses.get(id(element), 'unknown')}",
            suppress_invalid_tags=True,
        )
        content["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # JSON is UTF-8, whatever the file was
        if has_pixels:
            content["7FE00010"] = {"vr": "OW", "BulkDataURI": f"{ROOT}{place}/bulkdata/7FE00010"}
        return Described(json=as_json(content), frames=frame_spans(path, dataset) if has_pixels else ())
    except Exception:  # noqa: BLE001  a process boundary: what a damaged header makes pydicom raise has no bounds
        return None


def open_header(path: Path) -> tuple[Dataset, bool]:
    """All but pixel data, and whether there are any."""
    with path.open("rb") as file:
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        has_pixels = file.read(4) in _PIXELS
    # what follows in a deflated file cannot be seen from here
    deflated = dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    return dataset, has_pixels or (deflated and "Rows" in dataset)


def as_json(content: object) -> bytes:
    """Compact JSON; numbers that JSON lacks are left out."""
    try:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(content), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def described_by(row: dict[str, Any]) -> bytes:
    """As much as the database knows, for a file that cannot be parsed."""
    content = {}
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber"):
        if row.get(keyword) is not None:
            content[f"{tag_for_keyword(keyword):08X}"] = {"vr": dictionary_VR(keyword), "Value": [row[keyword]]}
    return as_json(content)


def _find_large(dataset: Dataset, prefix: str, addresses: dict[int, str]) -> None:
    """Note the address of each long binary element: its tags and, between them, the index of the item."""
    for element in dataset:
        address = f"{prefix}{element.tag:08X}"
        if element.VR == "SQ":
            for index, item in enumerate(element.value or ()):
                _find_large(item, f"{address}/{index}/", addresses)
        elif element.VR in _BINARY:
            addresses[id(element)] = address


def _finite(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
