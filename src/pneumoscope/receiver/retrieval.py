"""C-GET and C-MOVE: the objects asked for go out as stored, one after another, and each is counted (PS3.4 C.4.2, C.4.3)."""

from collections import Counter
from collections.abc import Callable

import sqlalchemy as sa
import structlog
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_GET, C_MOVE, C_STORE
from pynetdicom.status import code_to_category

from pneumoscope.errors import PneumoscopeError
from pneumoscope.receiver import identifiers
from pneumoscope.receiver.house import Entry
from pneumoscope.receiver.lane import Malformed
from pneumoscope.receiver.metrics import RETRIEVED
from pneumoscope.receiver.moving import Destination, destination
from pneumoscope.receiver.operation import (
    CANCEL,
    CANNOT_COUNT,
    DESTINATION_UNKNOWN,
    PENDING,
    Counts,
    Operation,
)
from pneumoscope.receiver.sending import Outgoing
from pneumoscope.store import audit, search
from pneumoscope.store.search import Level

#: What the counts can hold (PS3.7 9.1.3).
MOST_OBJECTS = 65_535
ANSWER_WAIT_S = 60.0
#: Sends one object, by its place among all; returns the status of its C-STORE, None where it could not be sent.
Send = Callable[[sa.RowMapping, int], int | None]
log = structlog.get_logger()


def retrieve(operation: Operation, root: Level) -> None:
    """Carry out a retrieval. Raises Unanswerable, SQLAlchemyError; Over, Malformed, OSError where the association is over."""
    house, request = operation.house, operation.request
    keys = identifiers.retrieval(operation.identifier(), root=root)
    there: Destination | None = None
    if isinstance(request, C_MOVE):
        there = destination(house.settings, str(request.MoveDestination).strip(), caller=operation.caller.calling)
        if there is None:
            _note_later(operation, "", "The move's destination is not in the settings.", outcome="refused")
            operation.answer(DESTINATION_UNKNOWN, comment="The settings have no such destination.")
            return
    with house.store.database.look() as db:
        rows = search.files(db, keys, limit=MOST_OBJECTS + 1)
    if len(rows) > MOST_OBJECTS:
        operation.answer(CANNOT_COUNT, comment=f"More than {MOST_OBJECTS} objects.")
        return
    studies = Counter(row["StudyInstanceUID"] for row in rows)
    _note(operation, studies, f"for {there.title}" if there else "for itself")
    counts = Counts(remaining=len(rows))
    try:
        if there is None:
            _send_all(operation, rows, counts, _Getting(operation).send)
        elif rows:
            _move(operation, rows, counts, there)
        else:
            operation.end(counts)
    finally:
        lost = counts.remaining + len(counts.failed)
        if lost:
            for study in studies:
                _note_later(operation, study, f"{lost} of {len(rows)} objects were not sent.", outcome="failed")
        log.info("A retrieval ended", completed=counts.completed + counts.warnings, failed=lost)


def _move(operation: Operation, rows: list[sa.RowMapping], counts: Counts, there: Destination) -> None:
    try:
        with there.associated(operation, rows) as moving:
            _send_all(operation, rows, counts, moving.send)
    except PneumoscopeError as fault:
        if not counts.remaining:  # all was sent and answered, and the release went wrong
            return
        log.warning("A move failed", code=fault.code)
        counts.failed += [row["SOPInstanceUID"] for row in rows[len(rows) - counts.remaining :]]
        counts.remaining = 0
        operation.end(counts)


def _send_all(operation: Operation, rows: list[sa.RowMapping], counts: Counts, send: Send) -> None:
    for number, row in enumerate(rows, start=1):
        if operation.cancelled():
            operation.end(counts, status=CANCEL)
            return
        status = send(row, (operation.message_id + number) % 65_535 + 1)
        category = "Failure" if status is None else code_to_category(status)
        counts.remaining -= 1
        if category == "Success":
            counts.completed += 1
        elif category == "Warning":
            counts.warnings += 1
        else:
            counts.failed.append(row["SOPInstanceUID"])
        RETRIEVED.labels(outcome=category.lower()).inc()
        if counts.remaining:
            operation.answer(PENDING, counts=counts)
    operation.end(counts)


class _Getting:
    """Over the association of the request, whose peer took the role of SCP for the classes it wants."""

    def __init__(self, operation: Operation) -> None:
        self._lane, house = operation.lane, operation.house
        accepted = [context for context in self._lane.assoc.accepted_contexts if context.as_scu]
        self._outgoing = Outgoing(house.store.files, house.children, accepted)

    def send(self, row: sa.RowMapping, message_id: int) -> int | None:
        found = self._outgoing.request(row, message_id=message_id)
        if found is None:
            return None
        context_id, request = found
        message = C_STORE_RQ()
        message.primitive_to_message(request)
        self._lane.say(message, context_id)
        answer = self._lane.hear(ANSWER_WAIT_S)
        if not isinstance(answer, C_STORE) or answer.MessageIDBeingRespondedTo != message_id or answer.Status is None:
            raise Malformed
        return answer.Status


def _note_later(operation: Operation, study: str, detail: str, *, outcome: str) -> None:
    """The clerk writes it into the audit trail, once the database is there."""
    caller = operation.caller
    entry = Entry(
        action="retrieve",
        outcome=outcome,
        actor=caller.calling,
        address=caller.address,
        StudyInstanceUID=study,
        detail=detail,
    )
    operation.house.entries.append(entry)


def _note(operation: Operation, studies: Counter[str], what: str) -> None:
    """Into the audit trail, study by study, before anything is sent; what is not noted is not sent. Raises SQLAlchemyError."""
    caller, verb = operation.caller, "C-GET" if isinstance(operation.request, C_GET) else "C-MOVE"

    def work(db: sa.Connection) -> None:
        for study, count in studies.items():
            audit.record(
                db,
                action="retrieve",
                actor=caller.calling,
                address=caller.address,
                StudyInstanceUID=study,
                detail=f"{verb} of {count} objects {what}.",
            )

    operation.house.store.database.insist(work, patience_s=20)
