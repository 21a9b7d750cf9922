"""A stored object as a C-STORE over what a peer accepted: as it is stored, or decoded for one that takes it no other way."""

from collections.abc import Iterable
from io import BytesIO
from typing import cast

import sqlalchemy as sa
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext

from pneumoscope.children import Children
from pneumoscope.children.transcode import as_plain
from pneumoscope.errors import PneumoscopeError
from pneumoscope.filing.examine import dataset_offset
from pneumoscope.store import FileStore

MEDIUM = 2  # priority
#: Those that everything can be decoded to, the better first.
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


class Outgoing:
    """``contexts``: those in which the peer takes objects. ``originator``: who asked for the move, and in which message."""

    def __init__(
        self,
        files: FileStore,
        children: Children,
        contexts: Iterable[PresentationContext],
        *,
        originator: tuple[str, int] | None = None,
    ) -> None:
        self._files, self._children, self._originator = files, children, originator
        self._ids = {(cx.abstract_syntax, cx.transfer_syntax[0]): cast(int, cx.context_id) for cx in contexts}

    def request(self, row: sa.RowMapping, *, message_id: int) -> tuple[int, C_STORE] | None:
        """Presentation context and request for an object; None where the peer does not take it or it cannot be read."""
        SOPClassUID, path = UID(row["SOPClassUID"]), self._files.path(row["key"])
        syntax = next((s for s in (row["TransferSyntaxUID"], *PLAIN) if (SOPClassUID, s) in self._ids), None)
        if syntax is None:
            return None
        request = C_STORE()
        request.MessageID, request.Priority = message_id, MEDIUM
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = SOPClassUID, UID(row["SOPInstanceUID"])
        if self._originator:
            request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = self._originator
        try:
            if syntax == row["TransferSyntaxUID"]:
                with path.open("rb") as file:
                    request._dataset_path = (path, dataset_offset(file))  # read as it is sent
            else:
                content = BytesIO(self._children.call(as_plain, path, implicit_vr=syntax == ImplicitVRLittleEndian))
                request.DataSet = BytesIO(content.getbuffer()[dataset_offset(content) :])
        except (OSError, PneumoscopeError):  # its file was lost or is damaged
            return None
        return self._ids[SOPClassUID, syntax], request
