"""A FHIR R4 bundle: DiagnosticReport, Observations, ImagingStudy, Device and the Patient they are of.

The bundle is a ``collection``: it states results without telling a server how to store them; a sender makes a transaction of it
where a destination wants one. It is plain JSON, and checked in the tests against two others' models of R4: importing the
pydantic models takes thirty times as long as making the bundle.
"""

import json
import unicodedata
import uuid
from datetime import datetime
from typing import Any

from pneumoscope import codes
from pneumoscope.codes import SYSTEM_URIS, Code, severity
from pneumoscope.records import ZONES, Finding, Parcel, Reading, Region
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, headline, parse_date, percent

NAMESPACE = uuid.UUID("7c0f5f0e-6a53-4b0e-9f3e-2d4f6d0b5a11")
GENDERS = {"M": "male", "F": "female", "O": "other"}
#: How a name is written, per component group: alphabetic, ideographic, phonetic.
REPRESENTATIONS = ("ABC", "IDE", "SYL")
REPRESENTATION_URL = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
REPLACES_URL = "http://hl7.org/fhir/StructureDefinition/diagnosticReport-replaces"
HL7 = "http://terminology.hl7.org/CodeSystem/"
Resource = dict[str, Any]


def build_bundle(reading: Reading) -> Parcel:
    """fhir.json, in UTF-8."""
    observations = [_score(reading), _category(reading), _severity(reading), *_measures(reading)]
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
    return _id_of(reading, reading.model.device_uid, reading.made_at, what)


def _id_of(reading: Reading, device_uid: str, made_at: datetime, what: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{reading.study.StudyInstanceUID} {device_uid} {made_at.isoformat()} {what}"))


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
    if number := _text(study.PatientID):
        out["identifier"] = [{"value": number}]
    names = [name for name in map(_human_name, study.PatientName.split("="), REPRESENTATIONS) if name]
    if names:
        out["name"] = names
    if study.PatientSex in GENDERS:
        out["gender"] = GENDERS[study.PatientSex]
    if born := parse_date(study.PatientBirthDate):
        out["birthDate"] = born.isoformat()
    return out


def _text(value: str) -> str:
    """Text as FHIR allows it: no control characters, no blanks around it, no blank string."""
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in value).split())


def _human_name(group: str, representation: str) -> Resource | None:
    """One component group of a DICOM person name (PS3.5 6.2.1): family, given, middle, prefix, suffix."""
    family, given, middle, prefix, suffix = (*(_text(part) for part in group.split("^")), "", "", "", "", "")[:5]
    parts = [part for part in (prefix, given, middle, family, suffix) if part]
    if not parts:
        return None
    lists = {"given": [part for part in (given, middle) if part], "prefix": [prefix], "suffix": [suffix]}
    return {
        "extension": [{"url": REPRESENTATION_URL, "valueCode": representation}],
        "text": " ".join(parts),
        **({"family": family} if family else {}),
        **{key: values for key, values in lists.items() if any(values)},
    }


def _device(reading: Reading) -> Resource:
    model = reading.model
    return {
        "resourceType": "Device",
        "id": _id(reading, "device"),
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{model.device_uid}"}],
        "manufacturer": model.manufacturer,
        "type": concept(codes.ARTIFICIAL_INTELLIGENCE),
        "deviceName": [{"name": model.name, "type": "model-name"}],
        "version": [{"value": model.version}],
        "note": [{"text": NOT_FOR_DIAGNOSIS}],
    }


def _imaging_study(reading: Reading) -> Resource:
    """The study, and of its series the one that was read."""
    study, volume = reading.study, reading.volume
    out: Resource = {
        "resourceType": "ImagingStudy",
        "id": _id(reading, "imaging"),
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.StudyInstanceUID}"}],
        "status": "available",
        "subject": _reference(reading, "patient"),
    }
    if accession := _text(study.AccessionNumber):
        out["identifier"].append({"type": {"coding": [{"system": f"{HL7}v2-0203", "code": "ACSN"}]}, "value": accession})
    if description := _text(study.StudyDescription):
        out["description"] = description
    if day := parse_date(study.StudyDate):
        out["started"] = day.isoformat()
    if volume.instances:
        out["series"] = [_series(reading)]
    return out


def _series(reading: Reading) -> Resource:
    """The series that was read; its instances named are the key slices, most involved first."""
    instances = reading.volume.instances
    first = instances[0]
    out: Resource = {
        "uid": first.SeriesInstanceUID,
        "modality": {"system": SYSTEM_URIS[codes.DCM], "code": "CT"},
        "numberOfInstances": len({instance.SOPInstanceUID for instance in instances}),
    }
    if first.SeriesNumber is not None and first.SeriesNumber >= 0:
        out["number"] = first.SeriesNumber
    if description := _text(first.SeriesDescription):
        out["description"] = description
    key_instances: dict[str, Resource] = {}
    for key in reading.key_slices:
        instance = instances[key.index]
        named: Resource = {
            "uid": instance.SOPInstanceUID,
            "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{instance.SOPClassUID}"},
            "title": f"Key slice {key.index + 1} from the feet, {percent(key.share)} of the lung in it involved",
        }
        if instance.frame_index is None and instance.InstanceNumber is not None and instance.InstanceNumber >= 0:
            named["number"] = instance.InstanceNumber
        key_instances.setdefault(instance.SOPInstanceUID, named)  # frames of one file share theirs
    if key_instances:
        out["instance"] = list(key_instances.values())
    return out


def _observation(reading: Reading, what: str, code: Code) -> Resource:
    out: Resource = {
        "resourceType": "Observation",
        "id": _id(reading, what),
        "status": "preliminary",
        "category": [{"coding": [{"system": f"{HL7}observation-category", "code": "imaging"}]}],
        "code": concept(code),
        "subject": _reference(reading, "patient"),
        "device": _reference(reading, "device"),
        "derivedFrom": [_reference(reading, "imaging")],
        "issued": reading.made_at.isoformat(),
    }
    if day := parse_date(reading.study.StudyDate):
        out["effectiveDateTime"] = day.isoformat()
    return out


def _score(reading: Reading) -> Resource:
    out = _observation(reading, "score", codes.STUDY_SCORE)
    scores = reading.scores
    if scores.probability is None:
        out["dataAbsentReason"] = {
            "coding": [{"system": f"{HL7}data-absent-reason", "code": "unknown"}],
            "text": scores.reason or "The model gives no score.",
        }
    else:
        out["valueQuantity"] = _quantity(scores.probability, codes.UNITY, 4)
    return out


def _category(reading: Reading) -> Resource:
    """Of the pattern, never of the disease: no code here says that the patient has COVID-19."""
    out = _observation(reading, "category", codes.CATEGORY)
    out["valueCodeableConcept"] = concept(codes.CATEGORIES[reading.scores.category]) | {"text": str(reading.scores.category)}
    if reading.scores.reason:
        out["note"] = [{"text": reading.scores.reason}]
    return out


def _severity(reading: Reading) -> Resource:
    out = _observation(reading, "severity", codes.SEVERITY_SCORE)
    out["valueInteger"] = reading.severity_points
    return out


def _measures(reading: Reading) -> list[Resource]:
    return [_region(reading, reading.finding(region)) for region in Region]


def _region(reading: Reading, finding: Finding) -> Resource:
    """One Observation a region, its measures as components; without lung in the region they are absent, not zero."""
    out = _observation(reading, finding.region.value, codes.LESION_SHARE)
    out["bodySite"] = concept(codes.ANATOMY[finding.region])
    quantities = [
        (codes.LUNG_VOLUME, _quantity(finding.volume_ml, codes.MILLILITRE)),
        (codes.LESION_VOLUME, _quantity(finding.lesion_ml, codes.MILLILITRE)),
        (codes.GROUND_GLASS_VOLUME, _quantity(finding.ground_glass_ml, codes.MILLILITRE)),
        (codes.CONSOLIDATION_VOLUME, _quantity(finding.consolidation_ml, codes.MILLILITRE)),
    ]
    if finding.volume_ml > 0:
        out["valueQuantity"] = _quantity(finding.share * 100, codes.PERCENT, 3)
        quantities.append((codes.ATTENUATION, _quantity(finding.mean_hu, codes.HOUNSFIELD, 1)))
    else:
        absent = [{"system": f"{HL7}data-absent-reason", "code": "not-applicable"}]
        out["dataAbsentReason"] = {"coding": absent, "text": "No lung was found here."}
    out["component"] = [{"code": concept(code), "valueQuantity": quantity} for code, quantity in quantities]
    for code, sign in ((codes.UPPER_UNCERTAINTY, "+"), (codes.LOWER_UNCERTAINTY, "-")):
        text = {"text": f"Volume of lesion, uncertainty {sign}"}  # the code alone would not say of which measure
        quantity = _quantity(finding.lesion_uncertainty_ml, codes.MILLILITRE)
        out["component"].append({"code": concept(code) | text, "valueQuantity": quantity})
    if finding.region in ZONES and finding.volume_ml > 0:
        out["component"].append({"code": concept(codes.SEVERITY_BAND), "valueInteger": severity(finding.share)[0]})
    return out


def _replaces(reading: Reading) -> Resource:
    """R4's own extension; a status such as "corrected" would say that the earlier report had been final."""
    earlier = reading.replaces
    if earlier is None:
        return {}
    uid = f"urn:uuid:{_id_of(reading, earlier.device_uid, earlier.made_at, 'report')}"
    reference = {"type": "DiagnosticReport", "identifier": {"system": "urn:ietf:rfc:3986", "value": uid}}
    return {"extension": [{"url": REPLACES_URL, "valueReference": reference}]}


def _report(reading: Reading, observations: list[Resource]) -> Resource:
    sentences = [headline(reading), *(notice.text for notice in reading.notices), NOT_FOR_DIAGNOSIS]
    out: Resource = {
        "resourceType": "DiagnosticReport",
        "id": _id(reading, "report"),
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": _urn(reading, "report")}],
        **_replaces(reading),
        "status": "preliminary",
        "category": [{"coding": [{"system": f"{HL7}v2-0074", "code": "RAD"}]}],
        "code": concept(codes.CHEST_CT),
        "subject": _reference(reading, "patient"),
        "issued": reading.made_at.isoformat(),
        "result": [{"reference": f"urn:uuid:{observation['id']}"} for observation in observations],
        "imagingStudy": [_reference(reading, "imaging")],
        "conclusion": " ".join(sentences),
    }
    if day := parse_date(reading.study.StudyDate):
        out["effectiveDateTime"] = day.isoformat()
    return out
