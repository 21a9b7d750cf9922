"""Results by STOW-RS (PS3.18 10.5)."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from pneumoscope.delivery import DICOM_MEDIA_TYPE, Outcome, Receipt, Shipment
from pneumoscope.delivery.statuses import Tally
from pneumoscope.delivery.stow_answer import parse_answer
from pneumoscope.delivery.web import Answer, WebPeer, refusal
from pneumoscope.errors import PneumoscopeError
from pneumoscope.records import Parcel

OK, ACCEPTED, CONFLICT = 200, 202, 409  # all stored; some stored, or with warnings; none stored
#: Said by a server that has the study but not the query service that ``probe`` uses.
NO_QUERIES = frozenset({404, 405, 406, 501})


@dataclass(frozen=True, kw_only=True)
class StowServer(WebPeer):
    """A DICOMweb server that takes results; ``url`` is its root, to which ``/studies`` is added."""

    def deliver(self, shipment: Shipment) -> Receipt:
        """All DICOM objects in one request. The fixed UIDs make a resend harmless."""
        objects = shipment.objects
        if not objects:
            return Receipt(outcome=Outcome.DELIVERED, sent=0, detail="The reading has no DICOM objects.")
        boundary = f"pneumoscope-{uuid.uuid4().hex}"
        headers = {
            "Content-Type": f'multipart/related; type="{DICOM_MEDIA_TYPE}"; boundary={boundary}',
            "Content-Length": str(sum(map(len, _body(objects, boundary)))),
            "Accept": "application/dicom+json, application/dicom+xml;q=0.5",
        }
        return _receipt(self._exchange("POST", "/studies", headers=headers, content=_body(objects, boundary)), len(objects))

    def probe(self) -> str:
        """A query for a study that is nowhere."""
        headers = {"Accept": "application/dicom+json"}
        answer = self._exchange("GET", "/studies?StudyInstanceUID=2.25.0&limit=1", headers=headers)
        if answer.status in NO_QUERIES:
            return "The server answers; it takes no queries, so that only a delivery will show whether it stores."
        if not 200 <= answer.status < 300:
            raise refusal(answer.status)
        return "The server answers queries and lets us in."


def _body(objects: tuple[Parcel, ...], boundary: str) -> Iterator[bytes]:
    for parcel in objects:
        yield f"--{boundary}\r\nContent-Type: {DICOM_MEDIA_TYPE}\r\nContent-Length: {len(parcel.content)}\r\n\r\n".encode()
        yield parcel.content
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _receipt(answer: Answer, count: int) -> Receipt:
    """Confirmed where the server lists what it stored; some servers answer 200 with nothing, which is less."""
    lists = parse_answer(answer.content, answer.media_type) if answer.status in (OK, ACCEPTED, CONFLICT) else None
    if lists is None:
        if answer.status == OK:
            return Receipt(outcome=Outcome.DELIVERED, sent=count, detail=f"The server took {count} objects but lists none.")
        raise _refusal(answer)
    tally = Tally(total=count)
    for _ in lists.stored:
        tally.count(0)
    for status in lists.failed:
        tally.count(status)
    tally.settle()
    return Receipt(outcome=Outcome.CONFIRMED, sent=count, detail=f"The server lists {count} objects as stored.")


def _refusal(answer: Answer) -> PneumoscopeError:
    return refusal(answer.status, "it does not say which objects it stored" if answer.status == ACCEPTED else "")
