"""Work items that this node performs: which they are, and how a reading shows in them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pneumoscope.codes import PRIVATE, READING, UNSPECIFIED_REASON, Code
from pneumoscope.dicomjson import Json, element, text, values

#: Worklist Label of what the node schedules itself, and of what comes without one.
LABEL = "Pneumoscope"


class Reference(NamedTuple):
    """A stored object."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPClassUID: str
    SOPInstanceUID: str


def moment(at: datetime) -> str:
    """A DT in UTC."""
    return at.strftime("%Y%m%d%H%M%S.%f") + "+0000"


def coded(code: Code) -> Json:
    """An item of a code sequence."""
    return (
        element("CodeValue", code.value) | element("CodingSchemeDesignator", code.scheme) | element("CodeMeaning", code.meaning)
    )


def station(ae_title: str) -> Code:
    """The node, as one that work items are assigned to or performed by."""
    return Code(ae_title, PRIVATE, f"Pneumoscope, {ae_title}")


def is_for_us(content: Json, ae_title: str) -> bool:
    """Whether a work item has our code, its input is ready, and it is assigned to us or to nobody."""
    stations = [text(item, "CodeValue") for item in values(content, "ScheduledStationNameCodeSequence")]
    return is_reading(content) and (not stations or ae_title in stations)


def is_reading(content: Json) -> bool:
    """Whether a work item with our code waits for a performer and its input is ready."""
    codes = [
        (text(item, "CodeValue"), text(item, "CodingSchemeDesignator"))
        for item in values(content, "ScheduledWorkitemCodeSequence")
    ]
    return (READING.value, READING.scheme) in codes and text(content, "InputReadinessState") == "READY"


def input_study(content: Json) -> str:
    """The one study that the input lies in; empty where there is none, or more than one."""
    found = {text(item, "StudyInstanceUID") for item in values(content, "InputInformationSequence")}
    return found.pop() if len(found) == 1 else ""


def references(objects: Iterable[Reference]) -> list[Json]:
    """Items of the Referenced Instances and Access Macro (PS3.3 Table 10-3b), one for each series."""
    series: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for one in objects:
        item = element("ReferencedSOPClassUID", one.SOPClassUID) | element("ReferencedSOPInstanceUID", one.SOPInstanceUID)
        series[one.StudyInstanceUID, one.SeriesInstanceUID].append(item)
    return [
        element("TypeOfInstances", "DICOM")
        | element("StudyInstanceUID", study)
        | element("SeriesInstanceUID", uid)
        | element("ReferencedSOPSequence", *items)
        for (study, uid), items in series.items()
    ]


def scheduled(study: Mapping[Any, Any], images: Iterable[Reference], *, at: datetime, priority: str, ae_title: str) -> Json:
    """The work item of a reading that the node decided on itself; ``priority``: HIGH, MEDIUM or LOW."""
    content = element("SpecificCharacterSet", "ISO_IR 192")
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"):
        content |= element(keyword, study[keyword])
    request = element("StudyInstanceUID", study["StudyInstanceUID"]) | element("AccessionNumber", study["AccessionNumber"])
    return content | {
        **element("ProcedureStepState", "SCHEDULED"),
        **element("ScheduledProcedureStepPriority", priority),
        **element("ProcedureStepLabel", READING.meaning),
        **element("WorklistLabel", LABEL),
        **element("ScheduledProcedureStepStartDateTime", moment(at)),
        **element("ScheduledWorkitemCodeSequence", coded(READING)),
        **element("ScheduledStationNameCodeSequence", coded(station(ae_title))),
        **element("InputReadinessState", "READY"),
        **element("InputInformationSequence", *references(images)),
        **element("ReferencedRequestSequence", request),
    }


def progress(percent: int, description: str) -> Json:
    """How far it is."""
    step = element("ProcedureStepProgress", percent) | element("ProcedureStepProgressDescription", description)
    return element("ProcedureStepProgressInformationSequence", step)


def cancellation(at: datetime, reason: str, code: Json | None = None, *, contact: Json | None = None) -> Json:
    """Why it is canceled; what a final state needs (PS3.4 Table CC.2.5-3)."""
    step = (
        element("ProcedureStepCancellationDateTime", moment(at))
        | element("ReasonForCancellation", reason)
        | element("ProcedureStepDiscontinuationReasonCodeSequence", code or coded(UNSPECIFIED_REASON))
    )
    return element("ProcedureStepProgressInformationSequence", step | (contact or {}))


def performed(*, began: datetime, ended: datetime, output: Iterable[Reference], ae_title: str, model: str) -> Json:
    """What was done, with the objects that came of it."""
    item = (
        element("PerformedStationNameCodeSequence", coded(station(ae_title)))
        | element("PerformedWorkitemCodeSequence", coded(READING))
        | element("PerformedProcedureStepStartDateTime", moment(began))
        | element("PerformedProcedureStepEndDateTime", moment(ended))
        | element("PerformedProcedureStepDescription", f"Read with {model}."[:64])
        | element("OutputInformationSequence", *references(output))
    )
    return element("UnifiedProcedureStepPerformedProcedureSequence", item)
