"""Where a C-MOVE may send: to peers that the settings know by their AE title, never to an address that somebody gives."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context

from pneumoscope.config import DicomDestination, Pacs, Settings
from pneumoscope.delivery.association import Peer, associate
from pneumoscope.errors import RetryLater
from pneumoscope.receiver.operation import Operation
from pneumoscope.receiver.sending import PLAIN, Outgoing

#: For a whole move: longer than any study takes, so that one that hangs ends some day.
DEADLINE_S = 4 * 3600.0
TIMEOUT_S = 30.0
MOST_CONTEXTS = 128


@dataclass(frozen=True, kw_only=True)
class Destination:
    """``caller``: who asked for the move."""

    peer: Peer
    caller: str

    @property
    def title(self) -> str:
        """Its AE title."""
        return self.peer.ae_title

    @contextmanager
    def associated(self, operation: Operation, rows: Sequence[sa.RowMapping]) -> Iterator["Moving"]:
        """An association for these objects as they are stored. Raises RetryLater or OperatorNeeded."""
        stored = dict.fromkeys((row["SOPClassUID"], row["TransferSyntaxUID"]) for row in rows)
        plain = [(SOPClassUID, syntax) for SOPClassUID in dict.fromkeys(row["SOPClassUID"] for row in rows) for syntax in PLAIN]
        contexts = [build_context(*pair) for pair in list(dict.fromkeys([*stored, *plain]))[:MOST_CONTEXTS]]
        with associate(self.peer, contexts) as assoc:
            yield Moving(operation, assoc, (self.caller, operation.message_id))


class Moving:
    """Sends over an association to the destination."""

    def __init__(self, operation: Operation, assoc: Association, originator: tuple[str, int]) -> None:
        house, self._assoc = operation.house, assoc
        self._outgoing = Outgoing(house.store.files, house.children, assoc.accepted_contexts, originator=originator)

    def send(self, row: sa.RowMapping, message_id: int) -> int | None:
        """Status of its C-STORE, None where it could not be sent. Raises RetryLater where the association is gone."""
        found, assoc = self._outgoing.request(row, message_id=message_id), self._assoc
        if found is None:
            return None
        context_id, request = found
        if not assoc.is_established:
            raise RetryLater("The destination broke off.", code="peer-aborted")
        # as the library's send_c_store does, which needs a file's own account of its class and syntax
        assoc._reactor_checkpoint.clear()
        try:
            assoc.dimse.send_msg(request, context_id)
            _, answer = assoc.dimse.get_msg(block=True)
        finally:
            assoc._reactor_checkpoint.set()
        if not isinstance(answer, C_STORE) or answer.Status is None:
            assoc.abort()
            raise RetryLater("The destination did not answer in time.", code="peer-silent")
        return answer.Status


def destination(settings: Settings, title: str, *, caller: str) -> Destination | None:
    """A destination of results by C-STORE, or else a PACS, of that AE title."""
    known: list[DicomDestination | Pacs] = [one for one in settings.destinations if isinstance(one, DicomDestination)]
    for given in (*known, *settings.pacs):
        if given.ae_title == title and given.host and given.port:
            peer = Peer(
                ae_title=title,
                host=given.host,
                port=given.port,
                calling_ae_title=settings.dicom.ae_title,
                tls=given.tls.as_client() if given.encrypted else None,
                timeout_s=TIMEOUT_S,
                deadline_s=DEADLINE_S,
            )
            return Destination(peer=peer, caller=caller)
    return None
