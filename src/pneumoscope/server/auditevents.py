"""Audit entries as FHIR R4 AuditEvents, with DICOM's codes (PS3.16 CID 400)."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import sqlalchemy as sa

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_DICOM_UID = "urn:dicom:uid"
_OTHER = ("110100", "Application Activity", "E")
#: Action in the store: code, what it is called, and what was done (FHIR's C, R, U, D, E).
_TYPES = {
    "access": ("110114", "User Authentication", "E"),
    "login": ("110114", "User Authentication", "E"),
    "logout": ("110114", "User Authentication", "E"),
    "lock-out": ("110113", "Security Alert", "E"),
    "people": ("110113", "Security Alert", "U"),
    "audit": ("110101", "Audit Log Used", "R"),
    "query": ("110112", "Query", "E"),
    "view": ("110103", "DICOM Instances Accessed", "R"),
    "retrieve": ("110103", "DICOM Instances Accessed", "R"),
    "upload": ("110104", "DICOM Instances Transferred", "C"),
    "resend": ("110104", "DICOM Instances Transferred", "E"),
    "create work item": ("110111", "Procedure Record", "C"),
    "update work item": ("110111", "Procedure Record", "U"),
    "cancel work item": ("110111", "Procedure Record", "U"),
    "subscribe": ("110100", "Application Activity", "E"),
    "review": ("110100", "Application Activity", "C"),
    "read together": ("110100", "Application Activity", "E"),
    "read again": ("110100", "Application Activity", "E"),
    "pool": ("110100", "Application Activity", "E"),
}
_OUTCOMES = {"success": "0", "refused": "4", "failed": "8"}


def bundle(rows: Sequence[sa.RowMapping], *, base: str, after: int, count: int) -> dict[str, Any]:
    """A page of the trail; a full one links to the next."""
    links = [{"relation": "self", "url": f"{base}/api/audit?after={after}&count={count}"}]
    if len(rows) == count:
        links.append({"relation": "next", "url": f"{base}/api/audit?after={rows[-1]['id']}&count={count}"})
    entries = [
        {"fullUrl": f"{base}/api/audit/{row['id']}", "resource": event(row), "search": {"mode": "match"}} for row in rows
    ]
    found: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    return found | ({"entry": entries} if entries else {})


def event(row: sa.RowMapping) -> dict[str, Any]:
    """One entry."""
    code, display, action = _TYPES.get(row["action"], _OTHER)
    agent: dict[str, Any] = {"requestor": True, "who": {"display": row["actor"] or "unknown"}}
    if row["address"]:
        agent["network"] = {"address": row["address"], "type": "2"}
    found: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(row["id"]),
        "type": {"system": _DCM, "code": code, "display": display},
        "subtype": [{"display": row["action"]}],
        "action": action,
        "recorded": row["at"].replace(tzinfo=row["at"].tzinfo or UTC).isoformat(),
        "outcome": _OUTCOMES.get(row["outcome"], "8"),
        "agent": [agent],
        "source": {"observer": {"display": "Pneumoscope"}},
    }
    if row["detail"]:
        found["outcomeDesc"] = row["detail"]
    if row["StudyInstanceUID"]:
        study = {"type": "ImagingStudy", "identifier": {"system": _DICOM_UID, "value": f"urn:oid:{row['StudyInstanceUID']}"}}
        found["entity"] = [{"what": study}]
    return found
