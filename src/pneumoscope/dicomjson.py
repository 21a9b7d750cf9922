"""DICOM JSON (PS3.18 F.2): datasets as dicts by tag, made, looked into, and checked where they come from others."""

import json
import re
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.valuerep import VR, validate_value

Json = dict[str, Any]
#: No work item nests deeper; what does is not looked at further.
MAX_DEPTH = 8
#: JSON knows larger numbers, and reads some as infinity; databases and clients do not.
LARGEST = 1e300
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_WHOLE = {"IS", "US", "UL", "SS", "SL", "UV", "SV"}
_NUMBERS = {*_WHOLE, "DS", "FL", "FD"}
_BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}


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


def _value(vr: str, value: object) -> object:
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), str(value).split("="), strict=False)
        return {name: group for name, group in groups if group}
    return int(str(value)) if vr in ("IS", "US") else value


def values(dataset: Json, keyword: str) -> list[Any]:
    """Values of an attribute; none where it is empty or absent."""
    return [value for value in dataset.get(tag(keyword), {}).get("Value", []) if value not in (None, "", {})]


def text(dataset: Json, keyword: str) -> str:
    """The first value of an attribute as text; empty where it has none."""
    return next((str(value) for value in values(dataset, keyword)), "")


def parse(content: bytes) -> Json:
    """The one dataset that ``content`` holds, alone or as the only item of a list.

    Raises ValueError, whose text names tags and never repeats a value.
    """
    try:
        found = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ValueError("The body is no JSON.") from None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    return _dataset(found, depth=0)


def _no_number(_name: str) -> object:
    raise ValueError("NaN and infinity are no JSON")


def _dataset(found: object, *, depth: int) -> Json:
    if not isinstance(found, dict) or depth > MAX_DEPTH:
        raise ValueError(f"A dataset is one object with attributes by tag, nested at most {MAX_DEPTH} deep.")
    checked: Json = {}
    for name, attribute in found.items():
        if not _TAG.fullmatch(name) or not isinstance(attribute, dict):
            raise ValueError("An attribute is named by the eight hexadecimal digits of its tag, and is an object.")
        checked[name.upper()] = _attribute(name.upper(), attribute, depth=depth)
    return dict(sorted(checked.items()))


def _attribute(name: str, attribute: Json, *, depth: int) -> Json:
    vr, given = attribute.get("vr"), attribute.get("Value", [])
    number = int(name, 16)
    known = dictionary_VR(number).split(" or ") if dictionary_has_tag(number) else list(VR)
    if vr not in known:
        raise ValueError(f"Attribute {name} needs a vr of {', '.join(known) if len(known) < 5 else 'the standard'}.")
    if not isinstance(given, list) or not set(attribute) <= {"vr", "Value"} or vr in _BINARY:
        raise ValueError(f"Attribute {name} has only a vr and a list as Value here; bulk data has no place in a work item.")
    kept = [_checked(name, str(vr), value, depth=depth) for value in given]
    return {"vr": vr, "Value": kept} if any(value is not None for value in kept) else {"vr": vr}


def _checked(name: str, vr: str, value: Any, *, depth: int) -> Any:  # noqa: ANN401 - JSON
    if value is None:
        return None
    if vr == "SQ":
        return _dataset(value, depth=depth + 1)
    if vr == "PN" and isinstance(value, dict):
        right = all(isinstance(part, str) and _is_text(vr, part) for part in value.values())
    elif vr in _NUMBERS and not isinstance(value, str):
        right = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
    else:  # a decimal or integer string may be given as one
        right = isinstance(value, str) and (vr not in _NUMBERS or vr in ("DS", "IS")) and vr != "PN" and _is_text(vr, value)
    if not right:
        raise ValueError(f"A value of attribute {name} is none that its vr {vr} allows.")
    return value


def _is_text(vr: str, value: str) -> bool:
    """Whether it is text of this representation that every database and every client can take."""
    try:
        value.encode()
        validate_value(vr, value, config.RAISE)
    except ValueError:  # its own text repeats the value
        return False
    return all(character >= " " or character in "\t\n\f\r" for character in value)
