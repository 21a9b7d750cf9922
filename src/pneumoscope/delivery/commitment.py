"""Storage commitment as SCU (PS3.4 annex J, push model): asked after storing; answered at once, or over another association."""

import threading
import time
from collections.abc import Sequence
from enum import Enum

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

CONTEXT_CLASS: UID = StorageCommitmentPushModel
REQUEST, ALL_STORED = 1, 1  # Action Type ID, Event Type ID (PS3.4 tables J.3.2-1, J.3.3-1)
SUCCESS, PROCESSING_FAILURE = 0x0000, 0x0110
_PAUSE_S = 0.02


class Answer(Enum):
    """What the peer says of the objects it was asked to vouch for."""

    COMMITTED = "committed"
    FAILED = "failed"
    AWAITED = "awaited"
    NOT_OFFERED = "not offered"


def commitment_context() -> PresentationContext:
    """The presentation context to propose."""
    return build_context(CONTEXT_CLASS)


class Commitment:
    """One transaction. ``items``: (SOPClassUID, SOPInstanceUID) of what was stored."""

    def __init__(self, transaction_uid: str) -> None:
        self.transaction_uid = transaction_uid
        self._asked: frozenset[str] = frozenset()
        self._answer = Answer.AWAITED
        self._answered = threading.Event()
        self._reporters: list[threading.Thread] = []

    @property
    def handler(self) -> evt.EventHandlerType:
        """To be bound to the association, before it is made."""
        return (evt.EVT_N_EVENT_REPORT, self._report)

    def ask(self, assoc: Association, items: Sequence[tuple[str, str]], *, wait_s: float) -> Answer:
        """Ask, then wait on this association for the answer; if it breaks off meanwhile, the answer is AWAITED."""
        if not any(c.abstract_syntax == CONTEXT_CLASS for c in assoc.accepted_contexts):
            return Answer.NOT_OFFERED
        self._asked = frozenset(instance for _, instance in items)
        status, _ = assoc.send_n_action(self._request(items), REQUEST, CONTEXT_CLASS, StorageCommitmentPushModelInstance)
        if "Status" in status and status.Status != SUCCESS:
            return Answer.NOT_OFFERED
        end = time.monotonic() + wait_s
        while assoc.is_established and time.monotonic() < end and not self._answered.wait(_PAUSE_S):
            pass
        # the library hears reports in threads of their own: a release that overtook their answers would end it in disorder
        for reporter in self._reporters:
            reporter.join(assoc.dimse_timeout)
        return self._answer

    def _request(self, items: Sequence[tuple[str, str]]) -> Dataset:
        request = Dataset()
        request.TransactionUID = self.transaction_uid
        request.ReferencedSOPSequence = []
        for SOPClassUID, SOPInstanceUID in items:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SOPClassUID, SOPInstanceUID
            request.ReferencedSOPSequence.append(item)
        return request

    def _report(self, event: evt.Event) -> tuple[int, None]:
        """N-EVENT-REPORT; one of another transaction is declined, so that the peer brings it to the receiver."""
        self._reporters.append(threading.current_thread())
        try:
            report = event.event_information
            ours = report.TransactionUID == self.transaction_uid
            stored = {item.ReferencedSOPInstanceUID for item in report.get("ReferencedSOPSequence", [])}
        except (AttributeError, ValueError, TypeError, KeyError, EOFError):
            return PROCESSING_FAILURE, None
        if not ours:
            return PROCESSING_FAILURE, None
        whole = event.event_type == ALL_STORED and self._asked <= stored
        self._answer = Answer.COMMITTED if whole else Answer.FAILED
        self._answered.set()
        return SUCCESS, None
