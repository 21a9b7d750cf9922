"""A person's answer to a reading for FHIR servers: an Observation about the reading's DiagnosticReport.

It comes with the resources of the reading, to which it refers: where a server has them, it keeps its own.
"""

import json
import uuid
from typing import Any

from pneumoscope import codes
from pneumoscope.records import Answer, Assessment, Parcel
from pneumoscope.results.fhir import HL7, NAMESPACE, concept

Resource = dict[str, Any]


def build_assessment_bundle(assessment: Assessment, reading: Parcel) -> Parcel:
    """``reading``: the fhir.json that the reading was stored as."""
    bundle: Resource = json.loads(reading.content)
    observation = _observation(assessment, _places(bundle))
    bundle["entry"].append({"fullUrl": f"urn:uuid:{observation['id']}", "resource": observation})
    bundle["timestamp"] = assessment.made_at.isoformat()
    bundle["identifier"] = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{_id(assessment, 'bundle')}"}
    text = json.dumps(bundle, ensure_ascii=False, indent=1, allow_nan=False)
    return Parcel(name="fhir.json", media_type="application/fhir+json", content=text.encode() + b"\n")


def _places(bundle: Resource) -> dict[str, str]:
    """Where the bundle has its resource of each type."""
    return {entry["resource"]["resourceType"]: entry["fullUrl"] for entry in bundle["entry"]}


def _id(assessment: Assessment, what: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{assessment.id} {what}"))


def _observation(assessment: Assessment, places: dict[str, str]) -> Resource:
    answer = assessment.answer
    out: Resource = {
        "resourceType": "Observation",
        "id": _id(assessment, "assessment"),
        "status": "final",
        "category": [{"coding": [{"system": f"{HL7}observation-category", "code": "imaging"}]}],
        "code": concept(codes.ASSESSMENT),
        "subject": {"reference": places["Patient"]},
        "focus": [{"reference": places["DiagnosticReport"]}],
        "effectiveDateTime": assessment.made_at.isoformat(),
        "issued": assessment.made_at.isoformat(),
        "performer": [{"display": assessment.reader or "unknown"}],
        "valueCodeableConcept": concept(codes.JUDGEMENTS[answer.judgement]),
        "derivedFrom": [{"reference": places["ImagingStudy"]}],
    }
    if answer.text:
        out["note"] = [{"text": answer.text}]
    if components := _components(answer):
        out["component"] = components
    return out


def _components(answer: Answer) -> list[Resource]:
    said = []
    if answer.objection:
        said.append((concept(codes.OBJECTION), concept(codes.OBJECTIONS[answer.objection])))
    if answer.category:
        value = concept(codes.CATEGORIES[answer.category]) | {"text": str(answer.category)}
        said.append((concept(codes.CORRECTED_CATEGORY), value))
    for zones, present in ((answer.added, codes.PRESENT), (answer.removed, codes.ABSENT)):
        for zone in zones:  # a component has no body site: its code names the zone too
            code = concept(codes.LESION_IN_ZONE)
            code["coding"] += concept(codes.ANATOMY[zone])["coding"]
            said.append((code | {"text": f"Lesion in zone: {codes.ANATOMY[zone].meaning}"}, concept(present)))
    return [{"code": code, "valueCodeableConcept": value} for code, value in said]
