"""Event reports: what subscribers are told (PS3.4 Table CC.2.4-1)."""

from pneumoscope.dicomjson import Json, element, tag, text, values
from pneumoscope.ups.requirements import PUSH_CLASS
from pneumoscope.ups.states import FINAL

#: The well-known instance that stands for the whole worklist.
WORKLIST = "1.2.840.10008.5.1.4.34.5"
_STATE, _CANCEL, _PROGRESS, _MANAGER, _ASSIGNED = 1, 2, 3, 4, 5
_STATES = ("ProcedureStepState", "InputReadinessState")
_ASSIGNMENT = ("ScheduledStationNameCodeSequence", "ScheduledHumanPerformersSequence")
_STEPS = ("ProcedureStepProgress", "ProcedureStepProgressDescription", "ProcedureStepCommunicationsURISequence")
_REASONS = ("ReasonForCancellation", "ProcedureStepDiscontinuationReasonCodeSequence")
_CONTACT = ("ContactURI", "ContactDisplayName")
_INFORMATION = "ProcedureStepProgressInformationSequence"


def of_change(before: Json, after: Json) -> list[Json]:
    """Events for what differs, an end last; ``before`` is empty for a new work item."""
    state = [of_state(after)] if _differ(before, after, _STATES) else []
    others = []
    if _differ(before, after, _ASSIGNMENT):
        others.append(_event(after, _ASSIGNED, _part(after, "ScheduledStationNameCodeSequence") | _performers(after)))
    if _steps(after) and _steps(before) != _steps(after):
        others.append(_event(after, _PROGRESS, element(_INFORMATION, *values(after, _INFORMATION))))
    return others + state if text(after, "ProcedureStepState") in FINAL else state + others


def _steps(dataset: Json) -> list[Json]:
    return [step for item in values(dataset, _INFORMATION) if (step := _part(item, *_STEPS))]


def of_state(dataset: Json) -> Json:
    """The state of a work item."""
    reasons: Json = {}
    for item in values(dataset, _INFORMATION):
        reasons |= _part(item, *_REASONS)
    return _event(dataset, _STATE, _part(dataset, *_STATES) | reasons)


def of_cancel_request(dataset: Json, request: Json, *, requester: str) -> Json:
    """Someone wants a work item to be canceled."""
    return _event(dataset, _CANCEL, element("RequestingAE", requester) | _part(request, *_REASONS, *_CONTACT))


def of_restart() -> Json:
    """The worklist manager is here again, and has forgotten nothing."""
    content = element("SCPStatus", "RESTARTED") | element("SubscriptionListStatus", "WARM START")
    content |= element("UnifiedProcedureStepListStatus", "WARM START")
    return _event(element("SOPInstanceUID", WORKLIST), _MANAGER, content)


def _differ(before: Json, after: Json, keywords: tuple[str, ...]) -> bool:
    return any(values(before, keyword) != values(after, keyword) for keyword in keywords)


def _performers(dataset: Json) -> Json:
    """The first of the people that it is for, as the event has them."""
    found = [item for item in values(dataset, "ScheduledHumanPerformersSequence") if isinstance(item, dict)]
    return _part(found[0], "HumanPerformerCodeSequence", "HumanPerformerOrganization") if found else {}


def _part(dataset: Json, *keywords: str) -> Json:
    return {tag(keyword): dataset[tag(keyword)] for keyword in keywords if tag(keyword) in dataset}


def _event(dataset: Json, kind: int, content: Json) -> Json:
    head = element("AffectedSOPClassUID", PUSH_CLASS) | element("EventTypeID", kind)
    uid = values(dataset, "SOPInstanceUID")
    return dict(sorted((head | element("AffectedSOPInstanceUID", *uid) | content).items()))
