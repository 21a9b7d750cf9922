"""Single values of a file, and what it says of where it belongs."""

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.tag import Tag

from pneumoscope.errors import Rejected
from pneumoscope.server.child.describe import open_header


def bulk_value(path: Path, address: Sequence[str]) -> bytes:
    """The bytes of an element, by its tag and, before it, the tags and item indices that lead there. Raises Rejected."""
    dataset, _ = open_header(path)
    try:
        for sequence, index in zip(address[:-1:2], address[1::2], strict=True):
            dataset = dataset[Tag(int(sequence, 16))].value[int(index)]
        value = dataset[Tag(int(address[-1], 16))].value
    except (KeyError, IndexError, ValueError, TypeError, OverflowError) as fault:
        raise Rejected("The object has no such element.", code="no-such-element") from fault
    if not isinstance(value, bytes):
        raise Rejected("The element is no bulk data.", code="no-such-element")
    return value


def studies_of(paths: Sequence[str]) -> list[str]:
    """Study Instance UID of each file, empty where it cannot be read."""
    return [_study_of(Path(path)) for path in paths]


def _study_of(path: Path) -> str:
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        return str(dataset.get("StudyInstanceUID", ""))
    except Exception:  # noqa: BLE001  a process boundary: what a damaged header makes pydicom raise has no bounds
        return ""
