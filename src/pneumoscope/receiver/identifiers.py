"""Identifiers of queries and retrievals (PS3.4 C.6) as questions to the archive, and rows of the archive as identifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pneumoscope.receiver.operation import Unanswerable
from pneumoscope.records import is_uid
from pneumoscope.store.search import SERVED, Level, matchable

LEVELS = {"PATIENT": Level.PATIENT, "STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.INSTANCE}
UNIQUE_KEYS = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.INSTANCE: "SOPInstanceUID",
}
MOST_UNSIGNED_SHORT = 65_535
MOST_UIDS, MOST_CHARACTERS = 2000, 4096
#: They are no keys, or say how a query is meant.
_ABOUT = {"QueryRetrieveLevel", "SpecificCharacterSet", "RetrieveAETitle", "InstanceAvailability"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """``keys``: what to match by; ``returned``: keywords to answer with; ``unsupported``: whether other keys were given too."""

    level: Level
    keys: Mapping[str, str]
    returned: tuple[str, ...]
    unsupported: bool


def query(identifier: Dataset, *, root: Level) -> Wanted:
    """What a C-FIND asks. Raises Unanswerable."""
    level = _level(identifier, root)
    served = {*SERVED[level], *(("ModalitiesInStudy",) if level is Level.STUDY else ())}
    keys, returned, unsupported = {}, [], False
    for tag in identifier.keys():  # noqa: SIM118 - the elements themselves would be decoded, which a hostile one prevents
        keyword = keyword_for_tag(tag)
        if keyword in _ABOUT or tag.element == 0:  # a group's length says nothing
            continue
        if keyword in matchable(level) and (value := _value(identifier, keyword)):
            keys[keyword] = value
        if keyword in served:
            returned.append(keyword)
        elif keyword not in matchable(level):
            unsupported = True
    for above in range(root, level):
        _one(keys, UNIQUE_KEYS[Level(above)])
    unique = (UNIQUE_KEYS[Level(each)] for each in range(root, level + 1))
    return Wanted(level=level, keys=keys, returned=tuple(dict.fromkeys([*unique, *returned])), unsupported=unsupported)


def retrieval(identifier: Dataset, *, root: Level) -> dict[str, str]:
    """The unique keys that a C-GET or C-MOVE selects objects by. Raises Unanswerable."""
    level = _level(identifier, root)
    keys = {}
    for each in range(root, level + 1):
        keyword = UNIQUE_KEYS[Level(each)]
        keys[keyword] = _value(identifier, keyword)
        if each < level or keyword == "PatientID":
            _one(keys, keyword)
        elif not keys[keyword] or not all(map(is_uid, keys[keyword].split("\\"))):
            raise Unanswerable(f"{keyword} has to be one UID, or several.")
    return keys


def _level(identifier: Dataset, root: Level) -> Level:
    level = LEVELS.get(_value(identifier, "QueryRetrieveLevel"))
    if level is None or level < root:
        raise Unanswerable("The query level is none of this model.")
    return level


def _one(keys: Mapping[str, str], keyword: str) -> None:
    """A unique key above the level asked for has a single value, in hierarchical search (PS3.4 C.4.1.3.1.1)."""
    value = keys.get(keyword, "")
    single = is_uid(value) if keyword.endswith("UID") else value.strip("*") and not set(value) & set("*?\\")
    if not single:
        raise Unanswerable(f"{keyword} has to be one value at this level.")


def _value(identifier: Dataset, keyword: str) -> str:
    """As text, several values parted by a backslash. Raises Unanswerable."""
    try:
        found = identifier.get(keyword)
        values = list(found) if isinstance(found, MultiValue | list) else [found]
        text = "\\".join("" if value is None else str(value).strip() for value in values)
    except Exception as fault:  # values are decoded only now, and what that makes pydicom raise has no bounds
        raise Unanswerable(f"{keyword} cannot be read.") from fault
    is_list = keyword.endswith("UID")
    if any(ord(c) < 32 for c in text) or (len(values) > MOST_UIDS if is_list else len(text) > MOST_CHARACTERS):
        raise Unanswerable(f"{keyword} is too long or has control characters.")
    return text


def answer(row: Mapping[str, Any], wanted: Wanted, *, ae_title: str, modalities: Sequence[str] = ()) -> Dataset:
    """A match, with the elements that were asked for."""
    found = Dataset()
    found.QueryRetrieveLevel = next(name for name, level in LEVELS.items() if level is wanted.level)
    found.RetrieveAETitle, found.InstanceAvailability = ae_title, "ONLINE"
    for keyword in wanted.returned:
        value: Any = list(modalities) if keyword == "ModalitiesInStudy" else row[keyword]
        tag = tag_for_keyword(keyword)
        assert tag is not None
        if dictionary_VR(tag) == "US" and not 0 <= (value or 0) <= MOST_UNSIGNED_SHORT:
            value = None  # no answer could hold it
        # values of the source that break the rules are kept: they are the archive's own
        found.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    if not all(str(row[keyword]).isascii() for keyword in wanted.returned if keyword in row):
        found.SpecificCharacterSet = "ISO_IR 192"
    return found
