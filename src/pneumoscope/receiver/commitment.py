"""Storage commitment (PS3.4 J): what others ask is noted and answered later; what they answer to us goes to the outbox."""

from datetime import timedelta

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from pneumoscope import tracing
from pneumoscope.config import Sender
from pneumoscope.delivery.mended import Entity
from pneumoscope.errors import OperatorNeeded
from pneumoscope.loops import is_of_the_machine
from pneumoscope.receiver.admission import Rejection, admit, answer_tls
from pneumoscope.receiver.house import Caller, House
from pneumoscope.records import is_uid
from pneumoscope.store import arrivals, commitments, now, outbox
from pneumoscope.store.arrivals import Known
from pneumoscope.store.schema import DeliveryState

SUCCESS, NO_SUCH_ACTION, INVALID_ARGUMENT, NO_SUCH_EVENT = 0x0000, 0x0123, 0x0115, 0x0113
#: Failure Reason (PS3.3 C.14.1.1).
NO_SUCH_OBJECT, CLASS_CONFLICT = 0x0112, 0x0119
ALL_STORED, SOME_FAILED = 1, 2
#: Longer than one answer can take: a receiver that dies over it leaves it to another.
LEASE = timedelta(seconds=45)
MOST_AT_ONCE = 20
#: Databases take only so many parameters in a query.
_CHUNK = 500
log = structlog.get_logger()


def asked(event: Event, house: House, caller: Caller) -> tuple[int, Dataset | None]:
    """N-ACTION: note what we are to vouch for."""
    if event.action_type != 1:
        return NO_SUCH_ACTION, None
    wanted = event.action_information
    transaction_uid = str(wanted.get("TransactionUID", ""))
    items = [
        (str(item.get("ReferencedSOPClassUID", "")), str(item.get("ReferencedSOPInstanceUID", "")))
        for item in wanted.get("ReferencedSOPSequence", [])
    ]
    if not is_uid(transaction_uid) or not items:
        return INVALID_ARGUMENT, None
    house.store.database.insist(
        lambda db: commitments.ask(
            db, transaction_uid=transaction_uid, sender=caller.calling, address=caller.address, items=items
        )
    )
    return SUCCESS, None


def answered(event: Event, house: House) -> tuple[int, Dataset | None]:
    """N-EVENT-REPORT: an archive vouches for results of ours, or does not."""
    if event.event_type not in (ALL_STORED, SOME_FAILED):
        return NO_SUCH_EVENT, None
    transaction_uid = str(event.event_information.get("TransactionUID", ""))
    committed = event.event_type == ALL_STORED
    row = house.store.database.insist(lambda db: outbox.answer(db, transaction_uid, committed=committed))
    if row is not None:
        code = "" if committed else outbox.NOT_COMMITTED
        moment = now()
        since = (
            row["due_at"] if row["state"] == DeliveryState.PENDING else moment
        )  # it can be quicker than the end of the sending
        tracing.note(row["reading_id"], "confirm", since, moment, {"destination": row["destination"]}, code=code)
    return SUCCESS, None


def answer_due(house: House) -> None:
    """Answer those commitments that are due, each over an association of its own."""
    for _ in range(MOST_AT_ONCE):
        with house.store.database.look() as db:
            if not commitments.due(db, limit=1):
                return
        with house.store.database.begin() as db:
            row = commitments.claim(db, lease=LEASE)
        if row is None:
            return
        sender = admit(
            house.settings.dicom, calling=row["sender"], called=house.settings.dicom.ae_title, address=row["address"]
        )
        try:
            code = _answer(house, row["transaction_uid"], row["items"], row["sender"], row["address"], sender)
        except Exception as fault:
            if is_of_the_machine(fault):
                raise
            log.error("A storage commitment met a fault of ours", exc_info=True)
            code = "bug"
        with house.store.database.begin() as db:
            if code:
                commitments.postpone(db, row["id"], code=code)
            else:
                commitments.answered(db, row["id"])
        log.info("A storage commitment was answered" if not code else "A storage commitment waits", code=code)


def _answer(
    house: House, transaction_uid: str, items: list[list[str]], title: str, address: str, sender: Sender | Rejection
) -> str:
    """Send the report; returns why it did not arrive, or nothing."""
    if isinstance(sender, Rejection):
        return "no-longer-admitted"
    if sender.port is None:
        return "no-port-for-answer"
    try:
        given = answer_tls(house.settings.dicom, sender)
        tls = given.as_client().context() if given else None
    except OperatorNeeded as fault:
        return fault.code
    report = judge(house, transaction_uid, [(a, b) for a, b in items])
    node = Entity(house.settings.dicom.ae_title)
    node.acse_timeout = node.dimse_timeout = node.network_timeout = node.connection_timeout = 10
    node.add_requested_context(StorageCommitmentPushModel)
    role = SCP_SCU_RoleSelectionNegotiation()  # we ask for the association, and are the provider (PS3.4 J.3.3)
    role.sop_class_uid, role.scu_role, role.scp_role = StorageCommitmentPushModel, False, True
    host = sender.host or address
    assoc = node.associate(host, sender.port, ae_title=title, ext_neg=[role], tls_args=(tls, host) if tls else None)
    if not assoc.is_established:
        return "peer-unreachable"
    try:
        failed = "FailedSOPSequence" in report
        status, _ = assoc.send_n_event_report(
            report, SOME_FAILED if failed else ALL_STORED, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
    except (RuntimeError, ValueError):
        return "peer-not-accepting"
    finally:
        assoc.release()
    return "" if status and status.Status == SUCCESS else "peer-refused"


def judge(house: House, transaction_uid: str, items: list[tuple[str, str]]) -> Dataset:
    """Event Information (PS3.4 Table J.3.3-1): which objects are listed, with their files on the disk for sure."""
    known: dict[str, Known] = {}
    with house.store.database.look() as db:
        for start in range(0, len(items), _CHUNK):
            # nothing is filed under what is no UID, and PostgreSQL would not even be asked for some of it
            known |= arrivals.known(db, [uid for _, uid in items[start : start + _CHUNK] if is_uid(uid)])
    present = house.store.files.present(there.key for there in known.values())
    report = Dataset()
    report.TransactionUID = UID(transaction_uid)
    stored: list[Dataset] = []
    failed: list[Dataset] = []
    keys: list[str] = []
    for SOPClassUID, SOPInstanceUID in items:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = UID(SOPClassUID), UID(SOPInstanceUID)
        there = known.get(SOPInstanceUID)
        if there is None or there.key not in present:
            item.FailureReason = NO_SUCH_OBJECT
        elif there.SOPClassUID != SOPClassUID:
            item.FailureReason = CLASS_CONFLICT
        else:
            keys.append(there.key)
        (failed if "FailureReason" in item else stored).append(item)
    house.store.files.sync(keys)
    if stored:
        report.ReferencedSOPSequence = stored
    if failed:
        report.FailedSOPSequence = failed
    return report
