"""Work items as an orchestrator would send them."""

from pneumoscope.codes import READING, Code
from pneumoscope.dicomjson import Json, element
from pneumoscope.ups import ours

OTHER = Code("bone-age", "99TEST", "Bone age")
STUDY = "1.2.826.0.1.3680043.10.7"


def wish(*, study: str = STUDY, code: Code = READING, **changes: object) -> Json:
    """What POST /workitems takes; ``changes``: keyword to value, None to leave one out."""
    values: dict[str, object] = {
        "ProcedureStepState": "SCHEDULED",
        "ScheduledProcedureStepPriority": "MEDIUM",
        "ProcedureStepLabel": "Reading of chest CT",
        "WorklistLabel": "AI",
        "ScheduledProcedureStepStartDateTime": "20261101120000",
        "InputReadinessState": "READY",
        "PatientName": "Yamada^Tarou",
        "PatientID": "P-1",
        "ScheduledWorkitemCodeSequence": ours.coded(code),
        "InputInformationSequence": ours.references(
            [ours.Reference(study, f"{study}.1", "1.2.840.10008.5.1.4.1.1.2", f"{study}.1.1")]
        )[0],
        **changes,
    }
    content: Json = {}
    for keyword, value in values.items():
        if value is not None:
            content |= element(keyword, *(value if isinstance(value, list) else [value]))
    return content


def done() -> Json:
    """What a performer elsewhere writes before it completes."""
    item = (
        element("PerformedStationNameCodeSequence", ours.coded(ours.station("OTHER")))
        | element("PerformedWorkitemCodeSequence", ours.coded(OTHER))
        | element("PerformedProcedureStepStartDateTime", "20261101120000")
        | element("PerformedProcedureStepEndDateTime", "20261101120100")
        | element("OutputInformationSequence", *ours.references([ours.Reference("1.2", "1.2.3", "1.2.4", "1.2.5")]))
    )
    return element("UnifiedProcedureStepPerformedProcedureSequence", item)
