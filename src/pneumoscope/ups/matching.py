"""Whether a work item is what a search asks for (PS3.4 C.2.2.2), attribute by attribute."""

import re
from collections.abc import Mapping
from typing import Any

from pydicom.datadict import dictionary_VR

from pneumoscope.dicomjson import Json, values

_RANGES = {"DA", "TM", "DT"}


def matches(dataset: Json, keys: Mapping[str, str]) -> bool:
    """``keys``: keyword, or keywords of nested attributes joined by dots, to the value as asked; an empty one matches all."""
    return all(_matches(dataset, path.split("."), wanted) for path, wanted in keys.items())


def _matches(dataset: Json, path: list[str], wanted: str) -> bool:
    if not wanted.strip("*"):
        return True
    found = values(dataset, path[0])
    if len(path) > 1:
        return any(_matches(item, path[1:], wanted) for item in found if isinstance(item, dict))
    vr = dictionary_VR(path[0])
    if vr == "UI":
        return any(value in wanted.replace("\\", ",").split(",") for value in found)
    if vr in _RANGES:
        return any(_in_range(str(value), wanted) for value in found)
    if vr == "PN":
        groups = [str(group) for value in found for group in (value.values() if isinstance(value, dict) else [value])]
        return any(_is_like(group.lower(), wanted.lower()) for group in groups)
    return any(_is_like(_as_text(value), wanted) for value in found)


def _as_text(value: Any) -> str:  # noqa: ANN401 - JSON
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_like(value: str, wanted: str) -> bool:
    """Wildcards ``*`` and ``?``; in one pass from left to right, so that many cost no more than few."""
    first, *others = wanted.split("*")
    if not others:
        return _fits(value, first)
    *middle, last = others
    if (
        len(value) < len(first) + len(last)
        or not _fits(value[: len(first)], first)
        or not _fits(value[len(value) - len(last) :], last)
    ):
        return False
    at, end = len(first), len(value) - len(last)
    for part in middle:
        found = next((start for start in range(at, end - len(part) + 1) if _fits(value[start : start + len(part)], part)), None)
        if found is None:
            return False
        at = found + len(part)
    return True


def _fits(value: str, pattern: str) -> bool:
    return len(value) == len(pattern) and all(b in (a, "?") for a, b in zip(value, pattern, strict=True))


def _in_range(value: str, wanted: str) -> bool:
    """Bounds count as far as they go; offsets from UTC are not looked at."""
    plain = re.split(r"[+-]", value)[0]
    first, dash, last = wanted.partition("-")
    if not dash:
        return plain.startswith(first)
    return plain >= first and (not last or plain[: len(last)] <= last)
