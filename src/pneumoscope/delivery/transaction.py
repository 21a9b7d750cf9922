"""A FHIR transaction made of the collection that a reading is stored as."""

import json
from typing import Any
from urllib.parse import quote

from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Parcel

URI_SYSTEM = "urn:ietf:rfc:3986"
Resource = dict[str, Any]


def to_transaction(parcel: Parcel, *, patient_system: str = "") -> Resource:
    """Every resource created unless the server has one with its identifier, so that a resend never doubles.

    ``patient_system``: system of the patient numbers, so that the server's own Patient of that number is found. Without it each
    reading brings its own Patient: a bare number may be another person's at another hospital.
    """
    try:
        bundle: Resource = json.loads(parcel.content)
        entries = [_entry(entry["fullUrl"], dict(entry["resource"]), patient_system) for entry in bundle["entry"]]
    except (ValueError, KeyError, TypeError) as fault:
        raise OperatorNeeded(f"The stored {parcel.name} is no FHIR bundle.", code="result-damaged") from fault
    return {"resourceType": "Bundle", "type": "transaction", "timestamp": bundle["timestamp"], "entry": entries}


def _entry(full_url: str, resource: Resource, patient_system: str) -> Resource:
    resource.pop("id", None)  # the server gives its own; references go by fullUrl and are made to fit by the server
    kind, identifiers = resource["resourceType"], list(resource.get("identifier", []))
    if kind == "Patient" and patient_system:
        identifiers = [{"system": patient_system, **identifier} for identifier in identifiers]
    if not any("system" in identifier for identifier in identifiers):
        identifiers.insert(0, {"system": URI_SYSTEM, "value": full_url})
    resource["identifier"] = identifiers
    request = {"method": "POST", "url": kind, "ifNoneExist": f"identifier={_token(identifiers[0])}"}
    return {"fullUrl": full_url, "resource": resource, "request": request}


def _token(identifier: Resource) -> str:
    """A search token (R4 3.1.1.4.10), for a URL."""
    return quote(f"{_escape(identifier['system'])}|{_escape(identifier['value'])}", safe="")


def _escape(text: str) -> str:
    """R4 3.1.1.4.0: what would separate values bears a backslash."""
    return "".join(f"\\{c}" if c in "\\,$|" else c for c in text)
