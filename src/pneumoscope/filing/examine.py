"""What one spooled file is: its digest, its header, how urgent it says it is. Runs in a child that may die of it."""

import hashlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pydicom

from pneumoscope.intake.headers import Header, read_header
from pneumoscope.records import Priority, is_uid

#: More than any text that the node files by; what is longer was made to fill the database.
MAX_TEXT_CHARACTERS = 4096
#: A Patient ID is found by an index, and PostgreSQL's take no entry of more than 2,704 bytes.
MAX_PATIENT_ID_BYTES = 2048
#: More than any File Meta Information; what is longer is private and was made to mislead.
_META_BYTES = 64 * 1024


class Rule(NamedTuple):
    """Urgency by a header's value, as the settings have it."""

    keyword: str
    pattern: str
    priority: Priority


class Examined(NamedTuple):
    """``priority``: the most urgent rule that fits; BACKFILL where none does."""

    sha256: str
    size_bytes: int
    header: Header
    priority: Priority = Priority.BACKFILL


def examine(path: Path, rules: Sequence[Rule]) -> Examined:
    """Read one file; whatever it provokes is a fault of its header. Raises OSError."""
    sha256, size_bytes = digest(path), path.stat().st_size
    try:
        header = read_header(path)
        fault = header.fault or _fault(path, header)
        if fault:
            return Examined(sha256, size_bytes, Header(fault=fault))
        return Examined(sha256, size_bytes, header, _ruled(path, rules))
    except Exception:  # noqa: BLE001  a boundary: what a hostile header makes pydicom raise has no bounds
        return Examined(sha256, size_bytes, Header(fault="damaged-header"))


def digest(path: Path) -> str:
    """SHA-256 of the dataset alone: preamble and file meta differ with every hop. Raises OSError."""
    with path.open("rb") as file:
        file.seek(dataset_offset(file))
        return hashlib.file_digest(file, "sha256").hexdigest()


def dataset_offset(file: BinaryIO) -> int:
    """Where the dataset begins: behind the File Meta Information (PS3.10 7.1), whatever its length says. Raises OSError."""
    start = file.read(_META_BYTES)
    if start[128:132] != b"DICM":
        return 0
    offset = 132
    while start[offset : offset + 2] == b"\x02\x00":
        long = start[offset + 4 : offset + 6] in (b"OB", b"UN", b"UT")  # PS3.5 7.1.2
        end = offset + (12 if long else 8)
        offset = end + int.from_bytes(start[offset + (8 if long else 6) : end], "little")
    return offset


def _fault(path: Path, header: Header) -> str:
    if not header.instances or header.study is None:
        return "not-an-image"
    one = header.instances[0]
    if not all(map(is_uid, (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID))):
        return "bad-uid"
    texts = (*vars(header.study).values(), *(value for value in vars(one).values() if isinstance(value, str)))
    if max(map(len, texts)) > MAX_TEXT_CHARACTERS or not is_uid(one.SOPClassUID) or not is_uid(one.TransferSyntaxUID):
        return "damaged-header"
    if len(header.study.PatientID.encode()) > MAX_PATIENT_ID_BYTES:
        return "damaged-header"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote values, which may be a patient's
        meta = pydicom.filereader.read_file_meta_info(path)
    told = str(meta.get("MediaStorageSOPInstanceUID", "") or one.SOPInstanceUID)
    return "" if told == one.SOPInstanceUID else "uid-mismatch"


def _ruled(path: Path, rules: Sequence[Rule]) -> Priority:
    if not rules:
        return Priority.BACKFILL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[rule.keyword for rule in rules], force=True)
    fitting = [rule.priority for rule in rules if re.search(rule.pattern, str(dataset.get(rule.keyword, "")), re.IGNORECASE)]
    return min(fitting, default=Priority.BACKFILL)
