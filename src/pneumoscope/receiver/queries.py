"""Query/Retrieve as SCP (PS3.4 C): who asks is told, and sent what is kept here, if the settings let them."""

import sqlalchemy as sa
import structlog
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import sop_class
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.receiver import identifiers, retrieval
from pneumoscope.receiver.admission import may_query
from pneumoscope.receiver.house import Entry, House
from pneumoscope.receiver.lane import Lane, Malformed
from pneumoscope.receiver.operation import (
    CANCEL,
    CANNOT_COUNT,
    IDENTIFIER_WRONG,
    NOT_AUTHORIZED,
    PENDING,
    PENDING_WITHOUT_SOME_KEYS,
    SUCCESS,
    TOO_MANY,
    Operation,
    Unanswerable,
)
from pneumoscope.store import search
from pneumoscope.store.search import Level, Question

#: Each with what it does and the highest level of its information model.
MODELS: dict[UID, tuple[str, Level]] = {
    UID(getattr(sop_class, f"{root}RootQueryRetrieveInformationModel{verb}")): (verb.lower(), level)
    for root, level in (("Patient", Level.PATIENT), ("Study", Level.STUDY))
    for verb in ("Find", "Get", "Move")
}
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
#: Matches that one query is answered with.
MOST_MATCHES = 5000
log = structlog.get_logger()


class Queries:
    """What all associations of this process ask through."""

    def __init__(self, house: House) -> None:
        self._house = house

    def operate(self, lane: Lane, context_id: int, request: C_FIND | C_GET | C_MOVE) -> None:
        """Carry out one request. Raises Over, Malformed, OSError: the association is over."""
        context = lane.assoc._accepted_cx.get(context_id)
        if context is None or context.abstract_syntax != request.AffectedSOPClassUID or context.abstract_syntax not in MODELS:
            raise Malformed
        operation = Operation(lane, self._house, context, request)
        verb, root = MODELS[context.abstract_syntax]
        caller = operation.caller
        if not may_query(self._house.settings.dicom, caller.sender):
            self._note(operation, verb, "not-authorized", outcome="refused")
            operation.answer(NOT_AUTHORIZED, comment="The settings do not let this AE query.")
            return
        try:
            if verb == "find":
                self._find(operation, root)
            else:
                retrieval.retrieve(operation, root)
        except Unanswerable as fault:
            self._note(operation, verb, "identifier-wrong", outcome="refused")
            operation.answer(IDENTIFIER_WRONG, comment=str(fault))
        except SQLAlchemyError:
            log.exception("A query could not be answered")
            self._note(operation, verb, "database", outcome="failed")
            operation.answer(TOO_MANY if verb == "find" else CANNOT_COUNT, comment="The database does not answer.")

    def _find(self, operation: Operation, root: Level) -> None:
        wanted = identifiers.query(operation.identifier(), root=root)
        with self._house.store.database.look() as db:
            rows, modalities = _matches(db, wanted)
        detail = f"{min(len(rows), MOST_MATCHES)} {wanted.level.name.lower()} matches."
        study = wanted.keys.get("StudyInstanceUID", "")
        self._note(operation, "find", detail, study=study if len(study) <= 64 else "")
        title, status = self._house.settings.dicom.ae_title, PENDING_WITHOUT_SOME_KEYS if wanted.unsupported else PENDING
        for row in rows[:MOST_MATCHES]:
            if operation.cancelled():
                operation.answer(CANCEL)
                return
            found = modalities.get(row.get("StudyInstanceUID", ""), ())
            operation.answer(status, identifier=identifiers.answer(dict(row), wanted, ae_title=title, modalities=found))
        if len(rows) > MOST_MATCHES:
            operation.answer(TOO_MANY, comment=f"More than {MOST_MATCHES} match; ask more narrowly.")
        else:
            operation.answer(SUCCESS)

    def _note(self, operation: Operation, verb: str, detail: str, *, study: str = "", outcome: str = "success") -> None:
        caller = operation.caller
        action = "query" if verb == "find" else "retrieve"
        entry = Entry(
            action=action, outcome=outcome, actor=caller.calling, address=caller.address, StudyInstanceUID=study, detail=detail
        )
        self._house.entries.append(entry)


def _matches(db: sa.Connection, wanted: identifiers.Wanted) -> tuple[list[sa.RowMapping], dict[str, list[str]]]:
    """One more than is answered, where there are more. Raises Unanswerable."""
    try:
        rows = search.find(db, Question(level=wanted.level, keys=wanted.keys, limit=MOST_MATCHES + 1))
    except ValueError as fault:
        raise Unanswerable("A date, time or number to match is malformed.") from fault
    named = "ModalitiesInStudy" in wanted.returned
    return rows, search.modalities(db, [row["StudyInstanceUID"] for row in rows]) if named and rows else {}
