"""A FHIR transaction, against a server in memory that checks it with another's models."""

import json
from dataclasses import replace
from typing import Any

import pytest
from delivery_peers import FhirStore, fhir_server, free_port

from certificate_maker import Certificates
from pneumoscope.delivery import Outcome, Shipment
from pneumoscope.delivery.fhir import FhirServer
from pneumoscope.errors import OperatorNeeded, RetryLater


def server(store: FhirStore, **more: Any) -> FhirServer:
    return FhirServer(**{"name": "fhir", "url": store.url, "timeout_s": 10, **more})


def kinds(store: FhirStore) -> list[str]:
    return sorted(place.split("/")[0] for place in store.resources)


def test_sent_twice_it_is_there_once(shipment: Shipment) -> None:
    with fhir_server() as store:
        first, second = server(store).deliver(shipment), server(store).deliver(shipment)
        assert (first.outcome, second.outcome) == (Outcome.CONFIRMED, Outcome.CONFIRMED)
        assert first.detail == f"{first.sent} resources were created, 0 were there already."
        assert second.detail == f"0 resources were created, {first.sent} were there already."
        assert len(store.resources) == first.sent
        assert {"DiagnosticReport", "Patient", "Device", "ImagingStudy", "Observation"} == set(kinds(store))
        report = next(r for r in store.resources.values() if r["resourceType"] == "DiagnosticReport")
        assert all(result["reference"] in store.resources for result in report["result"])
        assert "urn:uuid" not in report["subject"]["reference"]


def test_the_servers_own_patient_is_found_by_number(shipment: Shipment) -> None:
    own = {"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2.3", "value": "PHANTOM-1"}]}
    with fhir_server() as store:
        store.resources["Patient/own"] = own
        server(store, patient_system="urn:oid:1.2.3").deliver(shipment)
        assert kinds(store).count("Patient") == 1
        report = next(r for r in store.resources.values() if r["resourceType"] == "DiagnosticReport")
        assert report["subject"]["reference"] == "Patient/own"


def test_a_bare_number_never_finds_another_hospitals_patient(shipment: Shipment) -> None:
    with fhir_server() as store:
        store.resources["Patient/stranger"] = {"resourceType": "Patient", "identifier": [{"value": "PHANTOM-1"}]}
        server(store).deliver(shipment)
        report = next(r for r in store.resources.values() if r["resourceType"] == "DiagnosticReport")
        assert report["subject"]["reference"] != "Patient/stranger"


def outcome(code: str, severity: str = "error") -> bytes:
    issue = {"severity": severity, "code": code, "diagnostics": "Mr Secret"}
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b"", RetryLater),
        (503, outcome("exception"), RetryLater),
        (429, outcome("throttled"), RetryLater),
        (409, outcome("lock-error"), RetryLater),
        (401, outcome("login"), OperatorNeeded),
        (412, outcome("multiple-matches"), OperatorNeeded),
        (422, outcome("business-rule"), OperatorNeeded),
        (422, outcome("Mr Secret"), OperatorNeeded),
        (404, b"<html>Mr Secret</html>", OperatorNeeded),
        (400, b"[" * 100_000, OperatorNeeded),
    ],
)
def test_refusals(shipment: Shipment, status: int, body: bytes, kind: type[Exception]) -> None:
    with fhir_server() as store:
        store.answer = (status, body)
        with pytest.raises(kind) as fault:
            server(store).deliver(shipment)
    assert fault.value.code == f"http-{status}"
    assert "Secret" not in str(fault.value)


@pytest.mark.parametrize("body", [b"<html/>", b"[]", b'{"entry":[{"response":{"status":"201"}}]}', b'{"entry":{"a":1}}'])
def test_ok_that_is_no_transaction_is_not_believed(shipment: Shipment, body: bytes) -> None:
    with fhir_server() as store:
        store.answer = (200, body)
        with pytest.raises(OperatorNeeded) as fault:
            server(store).deliver(shipment)
    assert fault.value.code == "peer-answer-odd"


def test_tls_token_and_probe(shipment: Shipment, certificates: Certificates) -> None:
    files = {"ssl_certfile": str(certificates["server.pem"]), "ssl_keyfile": str(certificates["server.key"])}
    with fhir_server(**files) as store:
        assert server(store, tls=certificates.nobody).probe() == "The server is one of FHIR R4."
        server(store, tls=certificates.nobody, token="t0ken").deliver(shipment)
        assert store.seen[0]["authorization"] == "Bearer t0ken"
        with pytest.raises(OperatorNeeded) as fault:
            server(store).probe()  # trusts the authorities of the system only
        assert fault.value.code == "tls-failed"
        with pytest.raises(OperatorNeeded) as fault:
            server(store, url=store.url + "/nowhere", tls=certificates.nobody).probe()
        assert fault.value.code == "http-404"


def test_nobody_there_and_nothing_to_send(shipment: Shipment) -> None:
    away = FhirStore(url=f"http://127.0.0.1:{free_port()}/fhir")
    with pytest.raises(RetryLater) as fault:
        server(away).deliver(shipment)
    assert fault.value.code == "peer-unreachable"
    with pytest.raises(OperatorNeeded) as nothing:
        server(away).deliver(replace(shipment, parcels=()))
    assert nothing.value.code == "result-missing"
