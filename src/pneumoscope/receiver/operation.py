"""A C-FIND, C-GET or C-MOVE under way: what was asked, the answers to it, and whether the peer has had enough.

It is carried out in the thread that reads the association, which listens between two answers: a cancel is heard, answers
wait for a peer that reads slowly instead of piling up, and a TLS connection is never used by two threads at once.
"""

from dataclasses import dataclass, field
from io import BytesIO
from typing import cast

from pydicom.dataset import Dataset
from pynetdicom.dimse_messages import C_FIND_RSP, C_GET_RSP, C_MOVE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import PresentationContext

from pneumoscope.receiver.house import Caller, House
from pneumoscope.receiver.lane import Lane, Malformed

#: PS3.4 Tables C.4-1 to C.4-3, PS3.7 Annex C.
SUCCESS, PENDING, PENDING_WITHOUT_SOME_KEYS, CANCEL = 0x0000, 0xFF00, 0xFF01, 0xFE00
TOO_MANY, CANNOT_COUNT, CANNOT_SEND, DESTINATION_UNKNOWN = 0xA700, 0xA701, 0xA702, 0xA801
IDENTIFIER_WRONG, SOME_FAILED, CANNOT_PROCESS, NOT_AUTHORIZED = 0xA900, 0xB000, 0xC000, 0x0124
MOST_IDENTIFIER_BYTES = 2**20
#: Failed SOP Instance UID List: more do not fit into one element with Explicit VR.
MOST_FAILED_UIDS = 1000
_ANSWERS: dict[type, type[DIMSEMessage]] = {C_FIND: C_FIND_RSP, C_GET: C_GET_RSP, C_MOVE: C_MOVE_RSP}


class Unanswerable(ValueError):
    """The identifier breaks the rules of its information model; says which, without its values."""


@dataclass
class Counts:
    """Sub-operations of a retrieval."""

    remaining: int
    completed: int = 0
    warnings: int = 0
    failed: list[str] = field(default_factory=list)  # SOP Instance UIDs

    @property
    def status(self) -> int:
        """Of the last answer, once nothing remains."""
        if self.failed and not self.completed and not self.warnings:
            return CANNOT_SEND
        return SOME_FAILED if self.failed or self.warnings else SUCCESS


class Operation:
    """``request``: the library's primitive."""

    def __init__(self, lane: Lane, house: House, context: PresentationContext, request: C_FIND | C_GET | C_MOVE) -> None:
        assert lane.caller is not None and request.MessageID is not None, "only valid requests of who was let in come here"
        self.lane, self.house, self.request = lane, house, request
        self.caller: Caller = lane.caller
        self.message_id: int = request.MessageID
        self._context_id, self._syntax = cast(int, context.context_id), context.transfer_syntax[0]

    def identifier(self) -> Dataset:
        """What was asked. Raises Unanswerable."""
        content = cast(BytesIO, self.request.Identifier)
        if len(content.getbuffer()) > MOST_IDENTIFIER_BYTES:
            raise Unanswerable("The identifier is larger than 1 MB.")
        try:
            return decode(content, self._syntax.is_implicit_VR, self._syntax.is_little_endian)
        except Exception as fault:  # what a hostile identifier makes pydicom raise has no bounds
            raise Unanswerable("The identifier cannot be parsed.") from fault

    def cancelled(self) -> bool:
        """Whether the peer wants no more of it. Raises Over, Malformed, OSError."""
        if self.lane.hear(0) is not None:
            raise Malformed  # an answer to nothing
        return self.message_id in self.lane.assoc.dimse.cancel_req

    def answer(
        self, status: int, *, identifier: Dataset | None = None, counts: Counts | None = None, comment: str = ""
    ) -> None:
        """One answer; ``counts`` of a retrieval, whose remainder is told only while it goes on or was cancelled."""
        answer = type(self.request)()
        answer.MessageIDBeingRespondedTo = self.message_id
        answer.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        answer.Status = status
        if comment:
            answer.ErrorComment = comment[:64]  # type: ignore[assignment]
        if counts and not isinstance(answer, C_FIND):
            if status in (PENDING, CANCEL):
                answer.NumberOfRemainingSuboperations = counts.remaining
            answer.NumberOfCompletedSuboperations = counts.completed
            answer.NumberOfFailedSuboperations = len(counts.failed)
            answer.NumberOfWarningSuboperations = counts.warnings
        if identifier is not None:
            content = encode(identifier, self._syntax.is_implicit_VR, self._syntax.is_little_endian)
            assert content is not None, "our own answers can be encoded"
            answer.Identifier = BytesIO(content)
        message = _ANSWERS[type(self.request)]()
        message.primitive_to_message(answer)
        self.lane.say(message, self._context_id)

    def end(self, counts: Counts, *, status: int | None = None) -> None:
        """The last answer of a retrieval, which lists what failed (PS3.4 C.4.3.1.3.2)."""
        status = counts.status if status is None else status
        failed = None
        if status != SUCCESS:
            failed = Dataset()
            failed.FailedSOPInstanceUIDList = counts.failed[:MOST_FAILED_UIDS]
        self.answer(status, identifier=failed, counts=counts)
