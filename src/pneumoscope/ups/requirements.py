"""What a work item must hold when it is created, changed and ended (PS3.4 Table CC.2.5-3)."""

from collections.abc import Iterator

from pneumoscope.dicomjson import Json, element, tag, text, values
from pneumoscope.ups.states import State

PUSH_CLASS = "1.2.840.10008.5.1.4.34.6.1"
_ONE_OF = {
    "ScheduledProcedureStepPriority": ("HIGH", "MEDIUM", "LOW"),
    "InputReadinessState": ("INCOMPLETE", "UNAVAILABLE", "READY"),
}
_NEEDED = ("ProcedureStepLabel", "ScheduledProcedureStepStartDateTime", *_ONE_OF)
_PERFORMED, _PROGRESS = "UnifiedProcedureStepPerformedProcedureSequence", "ProcedureStepProgressInformationSequence"
#: Type 2 at creation: they exist, if only empty.
_PRESENT = (
    *("WorklistLabel", "ScheduledProcessingParametersSequence", "ScheduledStationNameCodeSequence"),
    *("ScheduledStationClassCodeSequence", "ScheduledStationGeographicLocationCodeSequence", "ScheduledWorkitemCodeSequence"),
    *("CommentsOnTheScheduledProcedureStep", "InputInformationSequence", "PatientName", "PatientID", "PatientBirthDate"),
    *("PatientSex", "AdmissionID", "ReferencedRequestSequence", _PROGRESS, _PERFORMED),
)
_PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDsSequence", "PatientBirthDate", "PatientSex"),
    *("AdmissionID", "IssuerOfAdmissionIDSequence", "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence"),
    "ReferencedRequestSequence",
)
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "TransactionUID", "ProcedureStepState")
_ALWAYS_AT_END = (
    *("ScheduledProcedureStepPriority", "ScheduledProcedureStepModificationDateTime", "ProcedureStepLabel"),
    *("WorklistLabel", "InputReadinessState", "ScheduledProcedureStepStartDateTime"),
)
_OF_PERFORMED = (
    *("PerformedStationNameCodeSequence", "PerformedProcedureStepStartDateTime", "PerformedWorkitemCodeSequence"),
    *("PerformedProcedureStepEndDateTime", "OutputInformationSequence"),
)
_OF_CANCELLATION = ("ProcedureStepCancellationDateTime", "ProcedureStepDiscontinuationReasonCodeSequence")


def faults_at_creation(dataset: Json) -> list[str]:
    """One sentence for each requirement that is not met; none repeats a value."""
    faults = [f"{keyword} needs a value." for keyword in _NEEDED if not values(dataset, keyword)]
    if text(dataset, "ProcedureStepState") != State.SCHEDULED:
        faults.append("ProcedureStepState is SCHEDULED in a new work item.")
    if text(dataset, "SOPClassUID") not in ("", PUSH_CLASS):
        faults.append("SOPClassUID is that of UPS Push.")
    faults += [
        f"{keyword} is empty in a new work item."
        for keyword in ("TransactionUID", _PROGRESS, _PERFORMED)
        if values(dataset, keyword)
    ]
    return [*faults, *_wrong_words(dataset)]


def faults_of_update(changes: Json) -> list[str]:
    """The same of attributes to be changed."""
    fixed = (*(keyword for keyword in _IDENTITY if keyword != "TransactionUID"), *_PATIENT)
    faults = [f"{keyword} cannot be changed by an update." for keyword in fixed if tag(keyword) in changes]
    emptied = [keyword for keyword in _NEEDED if tag(keyword) in changes and not values(changes, keyword)]
    faults += [f"{keyword} cannot be emptied." for keyword in emptied]
    return [*faults, *_wrong_words(changes)]


def _wrong_words(dataset: Json) -> Iterator[str]:
    for keyword, words in _ONE_OF.items():
        if text(dataset, keyword) not in ("", *words):
            yield f"{keyword} is one of {', '.join(words)}."


def created(dataset: Json, SOPInstanceUID: str, *, label: str) -> Json:
    """What is kept of a new work item; ``label`` is its Worklist Label where it has none."""
    content: Json = {}
    for keyword in _PRESENT:
        content |= element(keyword)
    content |= dataset
    if not values(content, "WorklistLabel"):
        content |= element("WorklistLabel", label)
    content |= element("SOPClassUID", PUSH_CLASS) | element("SOPInstanceUID", SOPInstanceUID)
    return _kept(content)


def changed(changes: Json) -> Json:
    """What is kept of the attributes of an update; a sequence is replaced as a whole."""
    return _kept(changes)


def _kept(dataset: Json) -> Json:
    """Without the key, which is for the performer alone, the state, which stands beside, and command elements."""
    beside = (tag("TransactionUID"), tag("ProcedureStepState"))
    return {key: value for key, value in dataset.items() if key not in beside and key[:4] not in ("0000", "0002")}


def missing_at_end(content: Json, end: State) -> list[str]:
    """Keywords of what must have a value before a work item may become COMPLETED or CANCELED."""
    missing = [keyword for keyword in _ALWAYS_AT_END if not values(content, keyword)]
    sequence, inner = (_PERFORMED, _OF_PERFORMED) if end is State.COMPLETED else (_PROGRESS, _OF_CANCELLATION)
    items = values(content, sequence)
    if not items:
        return [*missing, sequence]
    return missing + [keyword for keyword in inner for item in items if not values(item, keyword)]
