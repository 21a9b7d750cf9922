"""A person's answer to a reading as an object of the patient's own study (IHE AI Result Assessment).

Comprehensive 3D SR, root TID 1500, its observer the person. The first group (TID 1501) says accepted, modified or rejected, why
and of which document; where zones are corrected, a group for each says whether there is a lesion in it. It is made from the
stored findings alone, and the same answer gives the same bytes.
"""

import uuid

from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom_codes
from pydicom.uid import UID, Comprehensive3DSRStorage

from pneumoscope import __version__, codes
from pneumoscope.codes import Code
from pneumoscope.records import Answer, Assessment, Region, Study
from pneumoscope.results.header import Kind
from pneumoscope.results.source import reference
from pneumoscope.results.sr import coded, document, references, site_of

MANUFACTURER = "Pneumoscope"
MOST_NAME_CHARACTERS = 63  # 64 in a component group of a person name (PS3.5 6.2), with the caret


def build_assessment(assessment: Assessment, findings: Dataset) -> Dataset:
    """``findings``: the SR of the reading, from which patient and study are taken and to which the assessment refers."""
    header = _header(assessment, findings)
    content = sr.MeasurementReport(
        observation_context=_observer(assessment),
        procedure_reported=coded(codes.CHEST_CT),
        imaging_measurements=[_answer(assessment, findings), *_zones(assessment, findings)],
    )
    evidence = {findings.SeriesInstanceUID: [reference(findings.SOPClassUID, findings.SOPInstanceUID)]}
    ds = document(content, header, evidence=references(findings.StudyInstanceUID, evidence), final=True)
    if assessment.supersedes:
        ds.PredecessorDocumentsSequence = [_reference(findings, assessment.supersedes)]
    return ds


def assessment_uid(findings: Dataset, assessment_id: str) -> UID:
    """SOP Instance UID of the object that an answer is made into."""
    return _uid(findings, assessment_id)


def plain_name(reader: str) -> str:
    """Whoever answered, without what parts a DICOM person name."""
    plain = "".join(" " if c in "^=\\" or not c.isprintable() else c for c in reader)
    return " ".join(plain.split())[:MOST_NAME_CHARACTERS] or "unknown"


def _uid(findings: Dataset, *parts: str) -> UID:
    whole = "|".join((str(findings.SOPInstanceUID), Kind.ASSESSMENT.name, *parts))
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, whole).int}")


def _header(assessment: Assessment, findings: Dataset) -> Dataset:
    """Patient and study to the letter, as in the findings; a series for all answers to one reading."""
    made_at = assessment.made_at.astimezone()
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword in Study.__dataclass_fields__:
        if keyword in findings:
            ds[keyword] = findings.get_item(keyword)
    ds.SOPClassUID = Comprehensive3DSRStorage
    ds.SOPInstanceUID = assessment_uid(findings, assessment.id)
    ds.SeriesInstanceUID = _uid(findings)
    ds.Modality = Kind.ASSESSMENT.Modality
    ds.SeriesNumber = int(findings.SeriesNumber) - Kind.FINDINGS.place + Kind.ASSESSMENT.place
    ds.SeriesDescription = Kind.ASSESSMENT.SeriesDescription
    ds.InstanceNumber = assessment.number
    ds.InstanceCreationDate = ds.ContentDate = f"{made_at:%Y%m%d}"
    ds.InstanceCreationTime = ds.ContentTime = f"{made_at:%H%M%S}"
    ds.Manufacturer = ds.ManufacturerModelName = MANUFACTURER
    ds.SoftwareVersions = __version__
    ds.DeviceSerialNumber = findings.DeviceSerialNumber
    return ds


def _reference(findings: Dataset, assessment_id: str) -> Dataset:
    """Another assessment of the same findings (PS3.3 Table C.17-3, Hierarchical SOP Instance Reference Macro)."""
    earlier = reference(Comprehensive3DSRStorage, assessment_uid(findings, assessment_id))
    return references(findings.StudyInstanceUID, {_uid(findings): [earlier]})


def _observer(assessment: Assessment) -> sr.ObservationContext:
    name = plain_name(assessment.reader)
    return sr.ObservationContext(
        observer_person_context=sr.ObserverContext(
            observer_type=dicom_codes.DCM.Person,
            observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(
                name=f"{name}^",  # a name of one component
                login_name=name,
            ),
        )
    )


def _answer(assessment: Assessment, findings: Dataset) -> sr.MeasurementsAndQualitativeEvaluations:
    answer = assessment.answer
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(assessment, findings, "Assessment"),
        finding_sites=[site_of(Region.LUNGS)],
        qualitative_evaluations=[sr.QualitativeEvaluation(coded(name), coded(value)) for name, value in _said(answer)],
    )
    contains = sr.RelationshipTypeValues.CONTAINS
    group[0].ContentSequence.append(
        sr.CompositeContentItem(
            name=coded(codes.ASSESSED),
            referenced_sop_class_uid=findings.SOPClassUID,
            referenced_sop_instance_uid=findings.SOPInstanceUID,
            relationship_type=contains,
        )
    )
    if answer.text:
        group[0].ContentSequence.append(
            sr.TextContentItem(name=coded(codes.COMMENT), value=answer.text, relationship_type=contains)
        )
    return group


def _said(answer: Answer) -> list[tuple[Code, Code]]:
    said = [(codes.ASSESSMENT, codes.JUDGEMENTS[answer.judgement])]
    if answer.objection:
        said.append((codes.OBJECTION, codes.OBJECTIONS[answer.objection]))
    if answer.category:
        said.append((codes.CORRECTED_CATEGORY, codes.CATEGORIES[answer.category]))
    return said


def _zones(assessment: Assessment, findings: Dataset) -> list[sr.MeasurementsAndQualitativeEvaluations]:
    answer = assessment.answer
    zones = [(zone, codes.PRESENT) for zone in answer.added] + [(zone, codes.ABSENT) for zone in answer.removed]
    return [
        sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=_tracking(assessment, findings, codes.ANATOMY[zone].meaning),
            finding_sites=[site_of(zone)],
            qualitative_evaluations=[sr.QualitativeEvaluation(coded(codes.LESION_IN_ZONE), coded(value))],
        )
        for zone, value in zones
    ]


def _tracking(assessment: Assessment, findings: Dataset, what: str) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid=_uid(findings, assessment.id, what), identifier=what)
