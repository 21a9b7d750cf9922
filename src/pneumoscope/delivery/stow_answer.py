"""The body of a STOW-RS response (PS3.18 I.2.2), as DICOM JSON (PS3.18 F) or Native DICOM Model XML (PS3.19 A.1)."""

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

REFERENCED_SOP_SEQUENCE, FAILED_SOP_SEQUENCE = "00081199", "00081198"
REFERENCED_SOP_INSTANCE_UID, FAILURE_REASON = "00081155", "00081197"
UNKNOWN_FAILURE = 0x0110  # a failure without a reason may pass


@dataclass(frozen=True, kw_only=True)
class StowLists:
    """What the server says of the objects. ``stored``: SOPInstanceUIDs; ``failed``: FailureReason of each."""

    stored: tuple[str, ...]
    failed: tuple[int, ...]


def parse_answer(content: bytes, media_type: str) -> StowLists | None:
    """None where the body names no object, or is nothing that we know."""
    try:
        if "json" in media_type or content.lstrip()[:1] in (b"{", b"["):
            items = _from_json(json.loads(content))
        elif b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # the model has none; entities could grow without end
            return None
        else:
            items = _from_xml(ET.fromstring(content))  # noqa: S314 - no document type, and a bounded length
    except (ValueError, ET.ParseError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        return None
    stored = dict.fromkeys(uid for name, uid, _ in items if name == REFERENCED_SOP_SEQUENCE and uid)
    failed = tuple(reason for name, _, reason in items if name == FAILED_SOP_SEQUENCE)
    return StowLists(stored=tuple(stored), failed=failed) if stored or failed else None


def _from_json(body: Any) -> list[tuple[str, str, int]]:  # noqa: ANN401 - JSON
    """(sequence, SOPInstanceUID, FailureReason) of each item."""
    dataset = body[0] if isinstance(body, list) else body
    return [
        (name, str(_first(item, REFERENCED_SOP_INSTANCE_UID, "")), int(_first(item, FAILURE_REASON, UNKNOWN_FAILURE)))
        for name in (REFERENCED_SOP_SEQUENCE, FAILED_SOP_SEQUENCE)
        for item in dataset.get(name, {}).get("Value", [])
    ]


def _first(item: dict[str, Any], tag: str, absent: str | int) -> str | int:
    value: str | int = (item.get(tag, {}).get("Value") or [absent])[0]
    return value


def _from_xml(root: ET.Element) -> list[tuple[str, str, int]]:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # with or without the namespace
    return [
        (
            name,
            _text(item, REFERENCED_SOP_INSTANCE_UID, ""),
            int(_text(item, FAILURE_REASON, str(UNKNOWN_FAILURE))),
        )
        for name in (REFERENCED_SOP_SEQUENCE, FAILED_SOP_SEQUENCE)
        for item in root.findall(f"./DicomAttribute[@tag='{name}']/Item")
    ]


def _text(item: ET.Element, tag: str, absent: str) -> str:
    return (item.findtext(f"./DicomAttribute[@tag='{tag}']/Value") or absent).strip()
