"""MPPS and Instance Availability Notification: how many images a study should have. Nothing else of them is kept."""

import time
from contextlib import suppress
from typing import cast

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom.dimse_primitives import N_CREATE, N_SET
from pynetdicom.events import Event
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from pneumoscope.receiver.house import House
from pneumoscope.records import is_uid
from pneumoscope.store import arrivals

SUCCESS, INVALID_VALUE = 0x0000, 0x0106
#: A step that is not completed by then never is.
FORGET_AFTER_S = 7 * 86_400


def created(event: Event, house: House) -> tuple[int, Dataset | None]:
    """N-CREATE of a step, or of a notification."""
    found = event.attribute_list
    if cast(N_CREATE, event.request).AffectedSOPClassUID == ModalityPerformedProcedureStep:
        return _step_begun(event, found, house)
    references = found.get("ReferencedSeriesSequence", [])
    images = sum(len(series.get("ReferencedSOPSequence", [])) for series in references)
    StudyInstanceUID = str(found.get("StudyInstanceUID", ""))
    if not is_uid(StudyInstanceUID) or not images:
        return INVALID_VALUE, None
    house.store.database.insist(lambda db: arrivals.expect(db, StudyInstanceUID, images=images, source="ian"))
    return SUCCESS, Dataset()


def _step_begun(event: Event, found: Dataset, house: House) -> tuple[int, Dataset | None]:
    uid = str(cast(N_CREATE, event.request).AffectedSOPInstanceUID or generate_uid(prefix=None))
    scheduled = found.get("ScheduledStepAttributesSequence", [])
    StudyInstanceUID = str(scheduled[0].get("StudyInstanceUID", "")) if scheduled else ""
    if not is_uid(StudyInstanceUID) or not is_uid(uid):
        return INVALID_VALUE, None
    _Steps(house).begin(uid, StudyInstanceUID)
    reply = Dataset()
    reply.AffectedSOPInstanceUID = uid
    return SUCCESS, reply


def changed(event: Event, house: House) -> tuple[int, Dataset | None]:
    """N-SET of a step; one that is completed lists its images."""
    found = event.modification_list
    if found.get("PerformedProcedureStepStatus") != "COMPLETED":
        return SUCCESS, Dataset()
    StudyInstanceUID = _Steps(house).end(str(cast(N_SET, event.request).RequestedSOPInstanceUID))
    if StudyInstanceUID:
        images = sum(
            len(series.get(kind, []))
            for series in found.get("PerformedSeriesSequence", [])
            for kind in ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
        )
        house.store.database.insist(lambda db: arrivals.expect(db, StudyInstanceUID, images=images or None, source="mpps"))
    return SUCCESS, Dataset()


class _Steps:
    """Which study a performed procedure step belongs to, until it is completed.

    Files, since the step may be completed over another association, with another receiver, or after a restart.
    """

    def __init__(self, house: House) -> None:
        self._folder = house.settings.node.folder.absolute() / "steps"

    def begin(self, uid: str, StudyInstanceUID: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - old.stat().st_mtime > FORGET_AFTER_S:
                    old.unlink()
        partial = self._folder / f"{uid}.part"
        partial.write_text(StudyInstanceUID, encoding="ascii")
        partial.replace(self._folder / uid)

    def end(self, uid: str) -> str:
        """Its study, or nothing where it is not known."""
        if not is_uid(uid):
            return ""
        try:
            StudyInstanceUID = (self._folder / uid).read_text(encoding="ascii")
        except (OSError, ValueError):
            return ""
        (self._folder / uid).unlink(missing_ok=True)
        return StudyInstanceUID if is_uid(StudyInstanceUID) else ""
