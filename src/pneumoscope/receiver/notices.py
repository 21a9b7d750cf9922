"""MPPS and Instance Availability Notification: how many images a study should have. Nothing else of them is kept."""

from typing import cast

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom.dimse_primitives import N_CREATE, N_SET
from pynetdicom.events import Event
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from pneumoscope.receiver.house import House
from pneumoscope.store import arrivals
from pneumoscope.store.files import is_uid

SUCCESS, INVALID_VALUE = 0x0000, 0x0106
#: Which study a performed procedure step belongs to, until it is completed; a step that began before a restart tells nothing.
_steps: dict[str, str] = {}
_MOST_STEPS = 10_000


def created(event: Event, house: House) -> tuple[int, Dataset | None]:
    """N-CREATE of a step, or of a notification."""
    found = event.attribute_list
    if cast(N_CREATE, event.request).AffectedSOPClassUID == ModalityPerformedProcedureStep:
        return _step_begun(event, found)
    references = found.get("ReferencedSeriesSequence", [])
    images = sum(len(series.get("ReferencedSOPSequence", [])) for series in references)
    StudyInstanceUID = str(found.get("StudyInstanceUID", ""))
    if not is_uid(StudyInstanceUID) or not images:
        return INVALID_VALUE, None
    house.store.database.insist(lambda db: arrivals.expect(db, StudyInstanceUID, images=images, source="ian"))
    return SUCCESS, Dataset()


def _step_begun(event: Event, found: Dataset) -> tuple[int, Dataset | None]:
    uid = str(cast(N_CREATE, event.request).AffectedSOPInstanceUID or generate_uid(prefix=None))
    scheduled = found.get("ScheduledStepAttributesSequence", [])
    StudyInstanceUID = str(scheduled[0].get("StudyInstanceUID", "")) if scheduled else ""
    if not is_uid(StudyInstanceUID):
        return INVALID_VALUE, None
    while len(_steps) >= _MOST_STEPS:
        _steps.pop(next(iter(_steps)))
    _steps[uid] = StudyInstanceUID
    reply = Dataset()
    reply.AffectedSOPInstanceUID = uid
    return SUCCESS, reply


def changed(event: Event, house: House) -> tuple[int, Dataset | None]:
    """N-SET of a step; one that is completed lists its images."""
    found = event.modification_list
    StudyInstanceUID = _steps.get(str(cast(N_SET, event.request).RequestedSOPInstanceUID), "")
    if StudyInstanceUID and found.get("PerformedProcedureStepStatus") == "COMPLETED":
        images = sum(
            len(series.get(kind, []))
            for series in found.get("PerformedSeriesSequence", [])
            for kind in ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
        )
        house.store.database.insist(lambda db: arrivals.expect(db, StudyInstanceUID, images=images or None, source="mpps"))
    return SUCCESS, Dataset()
