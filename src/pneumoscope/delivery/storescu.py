"""Results by C-STORE (PS3.4 annex B), with storage commitment."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pneumoscope.delivery import Outcome, Receipt, Shipment
from pneumoscope.delivery.association import Peer, associate
from pneumoscope.delivery.commitment import CONTEXT_CLASS, Answer, Commitment, commitment_context
from pneumoscope.delivery.connection import Tls
from pneumoscope.delivery.statuses import NOT_ACCEPTED, Tally
from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.records import Parcel

#: What a reading may hold; asked for by ``probe``.
OUR_CLASSES = (SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage)


@dataclass(frozen=True, kw_only=True)
class DicomNode:
    """A DICOM node that takes results by C-STORE."""

    name: str
    ae_title: str
    host: str
    port: int
    calling_ae_title: str = "PNEUMOSCOPE"
    commitment: bool = True
    commitment_wait_s: float = 2  # on the same association; an answer after that comes over another one
    tls: Tls | None = None  # None: plain
    timeout_s: float = 30  # for each answer
    deadline_s: float = 600  # for the whole delivery

    def deliver(self, shipment: Shipment) -> Receipt:
        """Store all DICOM objects over one association, then ask for commitment. The fixed UIDs make a resend harmless."""
        objects = [_read(parcel) for parcel in shipment.objects]
        if not objects:
            return Receipt(outcome=Outcome.DELIVERED, sent=0, detail="The reading has no DICOM objects.")
        asked = Commitment(shipment.transaction_uid or generate_uid(prefix=None))
        contexts = storage_contexts(objects)
        if self.commitment:
            contexts.append(commitment_context())
        with associate(self._peer, contexts, [asked.handler]) as assoc:
            _store_all(assoc, objects)
            if not self.commitment:
                return Receipt(outcome=Outcome.DELIVERED, sent=len(objects), detail=f"{len(objects)} objects were stored.")
            items = [(str(ds.SOPClassUID), str(ds.SOPInstanceUID)) for ds in objects]
            answer = asked.ask(assoc, items, wait_s=self.commitment_wait_s)
        return _receipt(answer, len(objects), asked.transaction_uid)

    def probe(self) -> str:
        """C-ECHO, and which of our kinds of object it would take."""
        proposed = {UID(c): build_context(c, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]) for c in OUR_CLASSES}
        with associate(self._peer, [build_context(Verification), commitment_context(), *proposed.values()]) as assoc:
            accepted = {c.abstract_syntax for c in assoc.accepted_contexts}
            if Verification in accepted and assoc.send_c_echo().get("Status") != 0:
                raise RetryLater("The peer did not answer C-ECHO with success.", code="peer-silent")
            refused = [str(c.name) for c in proposed if c not in accepted]
            if refused:
                raise OperatorNeeded(f"The peer answers, but does not accept {', '.join(refused)}.", code="peer-not-accepting")
            offered = CONTEXT_CLASS in accepted
        return f"The peer answers and takes all our objects; it offers {'' if offered else 'no '}storage commitment."

    @property
    def _peer(self) -> Peer:
        return Peer(
            ae_title=self.ae_title,
            host=self.host,
            port=self.port,
            calling_ae_title=self.calling_ae_title,
            tls=self.tls,
            timeout_s=self.timeout_s,
            deadline_s=self.deadline_s,
        )


class _Syntax(NamedTuple):
    SOPClassUID: UID
    TransferSyntaxUID: UID


def storage_contexts(objects: Sequence[Dataset]) -> list[PresentationContext]:
    """One for each SOP class and transfer syntax; what is not compressed may go as Implicit VR too, the default of DICOM."""
    pairs = dict.fromkeys(_Syntax(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in objects)
    return [build_context(pair.SOPClassUID, list(dict.fromkeys(_ways(pair.TransferSyntaxUID)))) for pair in pairs]


def _ways(syntax: UID) -> list[UID]:
    plain = not syntax.is_compressed and syntax.is_little_endian
    return [syntax, ImplicitVRLittleEndian] if plain else [syntax]


def _read(parcel: Parcel) -> Dataset:
    try:
        return dcmread(BytesIO(parcel.content))
    except InvalidDicomError as fault:
        raise OperatorNeeded(f"The stored {parcel.name} is no DICOM object.", code="result-damaged") from fault


def _store_all(assoc: Association, objects: Sequence[Dataset]) -> None:
    """Raises what the tally says of the first fault that stops us, or of all at the end."""
    tally = Tally(total=len(objects))
    for k, ds in enumerate(objects, start=1):
        try:
            answer = assoc.send_c_store(ds, msg_id=k)
        except ValueError:  # no context was accepted for it; the others go out all the same
            tally.count(NOT_ACCEPTED, UID(ds.SOPClassUID))
            continue
        except RuntimeError:  # the association is gone
            raise tally.broken() from None
        if "Status" not in answer:
            raise tally.broken()
        tally.count(int(answer.Status), UID(ds.SOPClassUID))
        if tally.hopeless:
            break
    tally.settle()


def _receipt(answer: Answer, count: int, transaction_uid: str) -> Receipt:
    if answer is Answer.FAILED:
        raise RetryLater("The peer stored the objects but does not vouch for all of them.", code="not-committed")
    if answer is Answer.NOT_OFFERED:
        detail = f"{count} objects were stored; the peer took no request for storage commitment."
        return Receipt(outcome=Outcome.DELIVERED, sent=count, detail=detail)
    outcome, detail = Outcome.PENDING, f"{count} objects were stored and commitment was asked."
    if answer is Answer.COMMITTED:
        outcome, detail = Outcome.CONFIRMED, f"{count} objects were stored and are committed."
    return Receipt(outcome=outcome, sent=count, transaction_uid=transaction_uid, detail=detail)
