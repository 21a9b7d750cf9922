"""Results as HL7 v2 ORU^R01 over MLLP."""

import ssl
from dataclasses import dataclass

from pneumoscope.delivery import Outcome, Receipt, Shipment
from pneumoscope.delivery.connection import Tls, connect, diagnose, explain, too_slow
from pneumoscope.delivery.deadline import Deadline
from pneumoscope.delivery.mllp import Ack, exchange, parse_ack
from pneumoscope.delivery.oru import Header, build_message, control_id
from pneumoscope.errors import OperatorNeeded, PneumoscopeError, RetryLater

#: MSA-1 (table 0008): A... from the application, C... of mere receipt.
ACCEPTED = {"AA": Outcome.CONFIRMED, "CA": Outcome.DELIVERED}
FAILED, REJECTED = ("AE", "CE"), ("AR", "CR")
#: ERR-3 (table 0357): the receiver's own trouble, record locked and internal error; all others are about our message.
PASSING, LASTING = ("206", "207"), ("100", "101", "102", "103", "200", "201", "202", "203", "204", "205")


@dataclass(frozen=True, kw_only=True)
class Hl7Listener:
    """An interface engine or RIS that listens for HL7 v2 messages."""

    name: str
    host: str
    port: int
    sending_application: str = "PNEUMOSCOPE"  # MSH-3
    sending_facility: str = ""  # MSH-4
    receiving_application: str = ""  # MSH-5
    receiving_facility: str = ""  # MSH-6
    assigning_authority: str = ""  # PID-3.4
    tls: Tls | None = None  # None: plain
    timeout_s: float = 30  # for each step
    deadline_s: float = 120  # for the whole delivery

    def deliver(self, shipment: Shipment) -> Receipt:
        """One message, of the same bytes each time, and its acknowledgement."""
        header = Header(
            sending_application=self.sending_application,
            sending_facility=self.sending_facility,
            receiving_application=self.receiving_application,
            receiving_facility=self.receiving_facility,
            assigning_authority=self.assigning_authority,
        )
        message = build_message(shipment.named("reading.json"), reading_id=shipment.reading_id, header=header)
        ack = parse_ack(self._send(message))
        if ack.control_id != control_id(shipment.reading_id):
            raise RetryLater("The peer acknowledged another message than ours.", code="peer-answer-odd")
        if ack.code not in ACCEPTED:
            raise _refusal(ack)
        return Receipt(outcome=ACCEPTED[ack.code], sent=1, detail=f"The message was acknowledged with {ack.code}.")

    def probe(self) -> str:
        """A connection, and TLS where it is set; HL7 has no message that asks for nothing."""
        context = self.tls.context() if self.tls else None
        if fault := diagnose(self.host, self.port, context=context, timeout_s=self.timeout_s):
            raise fault
        return "The peer takes connections."

    def _send(self, message: bytes) -> bytes:
        context = self.tls.context() if self.tls else None
        sock = connect(self.host, self.port, context=context, timeout_s=self.timeout_s)
        with Deadline(self.deadline_s) as deadline, sock:
            deadline.guard(sock)
            try:
                return exchange(sock, message)
            except OSError as fault:
                raise (too_slow() if deadline.expired else self._why(fault, context)) from fault

    def _why(self, fault: OSError, context: ssl.SSLContext | None) -> PneumoscopeError:
        reason = explain(fault)
        if context and reason.code == "peer-aborted":
            return diagnose(self.host, self.port, context=context, timeout_s=self.timeout_s) or reason
        return reason


def _refusal(ack: Ack) -> PneumoscopeError:
    """By ERR-3 where the peer says why; else AE may pass and AR needs an operator."""
    if ack.code not in FAILED + REJECTED:
        return RetryLater(
            "The peer's answer is no acknowledgement: MSA-1 is none of AA, AE, AR, CA, CE, CR.", code="peer-answer-odd"
        )
    message = f"The peer answered {ack.code}."
    if ack.error in PASSING + LASTING:
        message = f"The peer answered {ack.code} with error {ack.error} of HL7 table 0357."
    code = f"hl7-{ack.code.lower()}"
    if ack.error in PASSING or (ack.code in FAILED and ack.error not in LASTING):
        return RetryLater(message, code=code)
    return OperatorNeeded(message, code=code)
