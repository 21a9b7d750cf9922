"""A FHIR R4 bundle: DiagnosticReport, Observations, ImagingStudy, Device and the Patient they are of.

The bundle is a ``collection``: it states results without telling a server how to store them; a sender makes a transaction of it
where a destination wants one. It is plain JSON, and checked in the tests against two others' models of R4: importing the
pydantic models takes longer than making the bundle.
"""

import json
import re
import uuid
from typing import Any

from pneumoscope import codes
from pneumoscope.codes import SYSTEM_URIS, Code, severity
from pneumoscope.records import ZONES, Finding, Parcel, Reading, Region
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, headline

NAMESPACE = uuid.UUID("7c0f5f0e-6a53-4b0e-9f3e-2d4f6d0b5a11")
GENDERS = {"M": "male", "F": "female", "O": "other"}
Resource = dict[str, Any]


def build_bundle(reading: Reading) -> Parcel:
    """fhir.json, in UTF-8."""
    observations = [_study_score(reading), _severity(reading), *_measures(reading)]
    resources = [_patient(reading), _device(reading), _imaging_study(reading), *observations]
    resources.append(_report(reading, observations))
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": reading.made_at.isoformat(),
        "identifier": {"system": "urn:ietf:rfc:3986", "value": _urn(reading, "bundle")},
        "entry": [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources],
    }
    text = json.dumps(bundle, ensure_ascii=False, indent=1, allow_nan=False)
    return Parcel(name="fhir.json", media_type="application/fhir+json", content=text.encode() + b"\n")


def _id(reading: Reading, what: str) -> str:
    """An id that the same reading always gives the same resource."""
    key = f"{reading.study.StudyInstanceUID} {reading.model.device_uid} {reading.made_at.isoformat()} {what}"
    return str(uuid.uuid5(NAMESPACE, key))


def _urn(reading: Reading, what: str) -> str:
    return f"urn:uuid:{_id(reading, what)}"


def _reference(reading: Reading, what: str) -> Resource:
    return {"reference": _urn(reading, what)}


def concept(code: Code) -> Resource:
    """A CodeableConcept."""
    return {"coding": [{"system": SYSTEM_URIS[code.scheme], "code": code.value, "display": code.meaning}], "text": code.meaning}


def _quantity(value: float, unit: Code, digits: int = 2) -> Resource:
    return {"value": round(value, digits), "unit": unit.value, "system": SYSTEM_URIS[unit.scheme], "code": unit.value}


def _patient(reading: Reading) -> Resource:
    study = reading.study
    out: Resource = {"resourceType": "Patient", "id": _id(reading, "patient")}
    if study.PatientID:
        out["identifier"] = [{"value": study.PatientID}]
    names = [_human_name(group) for group in study.PatientName.split("=") if group.strip("^ ")]
    if names:
        out["name"] = names
    if study.PatientSex in GENDERS:
        out["gender"] = GENDERS[study.PatientSex]
    if re.fullmatch(r"\d{8}", study.PatientBirthDate):
        out["birthDate"] = _date(study.PatientBirthDate)
    return out


def _human_name(group: str) -> Resource:
    """One component group of a DICOM person name (PS3.5 6.2.1): family, given, middle, prefix, suffix."""
    family, given, middle, prefix, suffix = (*group.split("^"), "", "", "", "", "")[:5]
    out: Resource = {"text": " ".join(part for part in (prefix, given, middle, family, suffix) if part)}
    if family:
        out["family"] = family
    if given or middle:
        out["given"] = [part for part in (given, middle) if part]
    if prefix:
        out["prefix"] = [prefix]
    if suffix:
        out["suffix"] = [suffix]
    return out


def _date(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}"


def _device(reading: Reading) -> Resource:
    model = reading.model
    return {
        "resourceType": "Device",
        "id": _id(reading, "device"),
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{model.device_uid}"}],
        "manufacturer": model.manufacturer,
        "deviceName": [{"name": model.name, "type": "model-name"}],
        "version": [{"value": model.version}],
        "note": [{"text": NOT_FOR_DIAGNOSIS}],
    }


def _imaging_study(reading: Reading) -> Resource:
    study, volume = reading.study, reading.volume
    out: Resource = {
        "resourceType": "ImagingStudy",
        "id": _id(reading, "imaging"),
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.StudyInstanceUID}"}],
        "status": "available",
        "subject": _reference(reading, "patient"),
    }
    if re.fullmatch(r"\d{8}", study.StudyDate):
        out["started"] = _date(study.StudyDate)
    if volume.instances:
        first = volume.instances[0]
        out["series"] = [
            {
                "uid": first.SeriesInstanceUID,
                "modality": {"system": SYSTEM_URIS[codes.DCM], "code": "CT"},
                "numberOfInstances": len({instance.SOPInstanceUID for instance in volume.instances}),
                **({"number": first.SeriesNumber} if first.SeriesNumber is not None and first.SeriesNumber >= 0 else {}),
            }
        ]
    return out


def _observation(reading: Reading, what: str, code: Code) -> Resource:
    return {
        "resourceType": "Observation",
        "id": _id(reading, what),
        "status": "preliminary",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "imaging"}]}],
        "code": concept(code),
        "subject": _reference(reading, "patient"),
        "device": _reference(reading, "device"),
        "derivedFrom": [_reference(reading, "imaging")],
        "issued": reading.made_at.isoformat(),
    }


def _study_score(reading: Reading) -> Resource:
    out = _observation(reading, "score", codes.STUDY_SCORE)
    scores = reading.scores
    if scores.probability is None:
        out["dataAbsentReason"] = {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}],
            "text": scores.reason,
        }
    else:
        out["valueQuantity"] = _quantity(scores.probability, codes.UNITY, 4)
        category = Code(scores.category.name.lower().replace("_", "-"), codes.PRIVATE, str(scores.category))
        out["interpretation"] = [concept(category)]
    return out


def _severity(reading: Reading) -> Resource:
    out = _observation(reading, "severity", codes.SEVERITY_SCORE)
    out["valueInteger"] = reading.severity_points
    return out


def _measures(reading: Reading) -> list[Resource]:
    return [_region(reading, reading.finding(region)) for region in Region]


def _region(reading: Reading, finding: Finding) -> Resource:
    """One Observation a region, its measures as components."""
    out = _observation(reading, finding.region.value, codes.LESION_SHARE)
    out["bodySite"] = concept(codes.ANATOMY[finding.region])
    out["valueQuantity"] = _quantity(finding.share * 100, codes.PERCENT, 3)
    out["component"] = [
        {"code": concept(code), "valueQuantity": _quantity(value, codes.MILLILITRE)}
        for code, value in (
            (codes.LUNG_VOLUME, finding.volume_ml),
            (codes.LESION_VOLUME, finding.lesion_ml),
            (codes.GROUND_GLASS_VOLUME, finding.ground_glass_ml),
            (codes.CONSOLIDATION_VOLUME, finding.consolidation_ml),
        )
    ]
    if finding.region in ZONES:
        out["component"].append({"code": concept(codes.SEVERITY_BAND), "valueInteger": severity(finding.share)[0]})
    return out


def _report(reading: Reading, observations: list[Resource]) -> Resource:
    notices = " ".join(notice.text for notice in reading.notices)
    return {
        "resourceType": "DiagnosticReport",
        "id": _id(reading, "report"),
        "status": "preliminary",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}]}],
        "code": concept(codes.CHEST_CT),
        "subject": _reference(reading, "patient"),
        "issued": reading.made_at.isoformat(),
        "result": [{"reference": f"urn:uuid:{observation['id']}"} for observation in observations],
        "imagingStudy": [_reference(reading, "imaging")],
        "conclusion": f"{headline(reading)} {notices} {NOT_FOR_DIAGNOSIS}".replace("  ", " "),
    }
