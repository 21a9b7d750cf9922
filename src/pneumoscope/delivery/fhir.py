"""Results to a FHIR R4 server, as one transaction."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pneumoscope.delivery import Outcome, Receipt, Shipment
from pneumoscope.delivery.transaction import to_transaction
from pneumoscope.delivery.web import Answer, WebPeer, refusal
from pneumoscope.errors import OperatorNeeded, PneumoscopeError, RetryLater

FHIR_MEDIA_TYPE = "application/fhir+json"
HEADERS = {"Accept": FHIR_MEDIA_TYPE}
#: Codes of an OperationOutcome that may pass by themselves (R4, IssueType, those under "transient").
PASSING = frozenset({"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"})
#: Those that do not; only codes of the standard are repeated in messages, never the server's text.
LASTING = frozenset({"invalid", "structure", "required", "value", "invariant", "code-invalid", "extension", "too-long"}) | {
    *("security", "login", "unknown", "expired", "forbidden", "suppressed", "too-costly", "business-rule", "conflict"),
    *("processing", "not-supported", "duplicate", "multiple-matches", "not-found", "deleted"),
}


@dataclass(frozen=True, kw_only=True)
class FhirServer(WebPeer):
    """A FHIR R4 server; ``url`` is its base. ``patient_system``: system of the patient numbers, for its own patients."""

    patient_system: str = ""

    def deliver(self, shipment: Shipment) -> Receipt:
        """The bundle as a transaction of conditional creates: a resend finds what is there."""
        bundle = to_transaction(shipment.named("fhir.json"), patient_system=self.patient_system)
        content = json.dumps(bundle, ensure_ascii=False, allow_nan=False).encode()
        headers = {**HEADERS, "Content-Type": FHIR_MEDIA_TYPE, "Prefer": "return=minimal"}
        return _receipt(self._exchange("POST", "", headers=headers, content=content), len(bundle["entry"]))

    def probe(self) -> str:
        """Its CapabilityStatement."""
        answer = self._exchange("GET", "/metadata", headers=HEADERS)
        if not 200 <= answer.status < 300:
            raise _refusal(answer)
        version = str(_json(answer).get("fhirVersion", ""))
        if not version.startswith("4."):
            raise OperatorNeeded("The server does not say that it is one of FHIR R4.", code="peer-not-accepting")
        return "The server is one of FHIR R4."


def _receipt(answer: Answer, count: int) -> Receipt:
    if not 200 <= answer.status < 300:
        raise _refusal(answer)
    entries = _json(answer).get("entry", [])
    statuses = Counter(_entry_status(entry) for entry in entries) if isinstance(entries, list) else Counter()
    if statuses.total() != count or any(not status.startswith("2") for status in statuses):
        raise OperatorNeeded(
            f"The answer is not that to a transaction: {statuses.total()} entries came for {count}; is the URL a FHIR base?",
            code="peer-answer-odd",
        )
    detail = f"{statuses['201']} resources were created, {count - statuses['201']} were there already."
    return Receipt(outcome=Outcome.CONFIRMED, sent=count, detail=detail)


def _entry_status(entry: Any) -> str:  # noqa: ANN401 - JSON
    """HTTP status of one entry of a transaction-response, three digits."""
    response = entry.get("response") if isinstance(entry, dict) else None
    return str(response.get("status", ""))[:3] if isinstance(response, dict) else ""


def _refusal(answer: Answer) -> PneumoscopeError:
    """By the HTTP status, unless the OperationOutcome says that it will pass."""
    codes = _issue_codes(_json(answer))
    fault = refusal(answer.status, ", ".join(sorted(codes)))
    if codes & PASSING:
        return RetryLater(str(fault), code=fault.code)
    return fault


def _issue_codes(body: dict[str, Any]) -> frozenset[str]:
    """Codes of the issues that made it fail."""
    issues = body.get("issue")
    if body.get("resourceType") != "OperationOutcome" or not isinstance(issues, list):
        return frozenset()
    grave = [issue for issue in issues if isinstance(issue, dict) and issue.get("severity") in ("error", "fatal")]
    return frozenset(code for issue in grave if (code := str(issue.get("code"))) in PASSING | LASTING)


def _json(answer: Answer) -> dict[str, Any]:
    """The body as a JSON object; empty where it is none."""
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
