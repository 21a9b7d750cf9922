"""Results to where they are wanted: a Shipment goes to a Destination and comes back as a Receipt.

One module for each kind of destination: ``storescu``, ``stow``, ``fhir``, ``hl7``, ``folder``. They get stored bytes, never a
live Reading, since results are built once and may be sent days later. A delivery may be tried again at any time: every kind
recognises what it sent before. What went wrong is a RetryLater or an OperatorNeeded, whose messages hold neither patient data
nor the words of the peer, which could.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Parcel

DICOM_MEDIA_TYPE = "application/dicom"


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """What is sent: all results of one reading, as stored, or what an answer to it was made into.

    ``transaction_uid``: of the storage commitment to be asked, where the caller noted it beforehand: a fast peer answers over
    another association before ``deliver`` returns. Empty: made here. It must differ from attempt to attempt (PS3.4 J.3.2).
    """

    reading_id: str  # a UUID, or that of the answer
    StudyInstanceUID: str
    parcels: tuple[Parcel, ...]
    transaction_uid: str = ""

    @property
    def objects(self) -> tuple[Parcel, ...]:
        """The DICOM objects, in their order."""
        return tuple(parcel for parcel in self.parcels if parcel.media_type == DICOM_MEDIA_TYPE)

    def named(self, name: str) -> Parcel:
        """The parcel of one file name. Raises OperatorNeeded where the reading has none."""
        for parcel in self.parcels:
            if parcel.name == name:
                return parcel
        raise OperatorNeeded(f"The stored reading has no {name}, which this destination needs.", code="result-missing")


class Outcome(StrEnum):
    """How far a delivery got."""

    DELIVERED = "delivered"  # handed over
    CONFIRMED = "confirmed"  # the destination vouches for it
    PENDING = "pending"  # stored; storage commitment asked, answer awaited


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What came of a delivery that went out."""

    outcome: Outcome
    sent: int  # objects
    transaction_uid: str = ""  # of the storage commitment, where one was asked
    detail: str = ""  # one sentence without patient data


class Destination(Protocol):
    """Where results go."""

    @property
    def name(self) -> str:
        """What the settings call it."""
        ...

    def deliver(self, shipment: Shipment) -> Receipt:
        """Send everything that this kind takes. Raises RetryLater or OperatorNeeded; sending again never doubles anything."""
        ...

    def probe(self) -> str:
        """Try it without sending a result, for an operator's check; one sentence. Raises as ``deliver`` does."""
        ...
