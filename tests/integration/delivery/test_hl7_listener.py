"""ORU^R01 over MLLP, against listeners that parse it with hl7apy and answer in every way."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from delivery_peers import dripping, free_port, mute, saying, tcp_peer
from hl7apy.core import Message
from hl7apy.parser import parse_message

from certificate_maker import Certificates
from pneumoscope.delivery import Outcome, Shipment
from pneumoscope.delivery.hl7 import Hl7Listener
from pneumoscope.errors import OperatorNeeded, RetryLater


def listener(port: int, **more: Any) -> Hl7Listener:
    return Hl7Listener(**{"name": "ris", "host": "127.0.0.1", "port": port, "timeout_s": 5, **more})


def hear(sock: socket.socket) -> bytes:
    heard = b""
    while b"\x1c\r" not in heard:
        heard += sock.recv(4096)
    assert heard.startswith(b"\x0b")
    return heard[1 : heard.index(b"\x1c\r")]


def answering(
    code: str, *, error: str = "", control_id: str = "", got: list[bytes] | None = None
) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        message = hear(sock)
        if got is not None:
            got.append(message)
        asked = control_id or parse(message).msh.msh_10.value
        err = f"ERR|||{error}^Mr Secret^HL70357|E\r" if error else ""
        text = f"MSH|^~\\&|RIS|H|||20200301||ACK^R01^ACK|1|P|2.5.1\rMSA|{code}|{asked}|Mr Secret\r{err}"
        sock.sendall(b"\x0b" + text.encode() + b"\x1c\r")

    return serve


def parse(message: bytes) -> Message:
    return parse_message(message.decode("utf-8"), find_groups=False)


def test_the_message_says_what_was_read(shipment: Shipment) -> None:
    got: list[bytes] = []
    with tcp_peer(answering("AA", got=got)) as port:
        ours = listener(port, receiving_application="RIS", receiving_facility="St. John & Co", assigning_authority="HOSP")
        receipts = [ours.deliver(shipment), ours.deliver(shipment)]
    assert [(receipt.outcome, receipt.sent) for receipt in receipts] == [(Outcome.CONFIRMED, 1)] * 2
    assert got[0] == got[1], "a resend is recognisable"
    assert parse_message(got[0].decode()).validate()
    message = parse(got[0])
    assert message.msh.msh_9.value == "ORU^R01^ORU_R01"
    assert message.msh.msh_18.value == "UNICODE UTF-8"
    assert message.msh.msh_6.value == "St. John \\T\\ Co"
    assert message.pid.pid_3.value == "PHANTOM-1^^^HOSP^PI"
    assert [name.value for name in message.pid.pid_5] == ["Müller^Änne^^^^^L^A", "山田^花子^^^^^L^I"]
    assert (message.pid.pid_7.value, message.pid.pid_8.value) == ("19600102", "O")
    assert message.obr.obr_18.value == "A1"
    results = {(obx.obx_3.obx_3_1.value, obx.obx_4.value): obx for obx in message.obx}
    assert results["113014", ""].obx_5.value == shipment.StudyInstanceUID
    assert results["covid-score", ""].obx_5.value == "0.83"
    assert results["covid-category", ""].obx_5.value.startswith("52101004^Present^SCT")
    assert results["severity-score", ""].obx_5.value == "3"
    assert 0 < float(results["lesion-share", "lungs"].obx_5.value) < 100
    assert results["121111", ""].obx_5.value.startswith("Sign of pneumonia of the COVID-19 pattern")
    assert b"NOT FOR PRIMARY DIAGNOSIS" in got[0]


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ({"code": "AE"}, RetryLater, "hl7-ae"),
        ({"code": "CE"}, RetryLater, "hl7-ce"),
        ({"code": "AE", "error": "101"}, OperatorNeeded, "hl7-ae"),
        ({"code": "AR"}, OperatorNeeded, "hl7-ar"),
        ({"code": "CR", "error": "200"}, OperatorNeeded, "hl7-cr"),
        ({"code": "AR", "error": "207"}, RetryLater, "hl7-ar"),
        ({"code": "AR", "error": "Secret"}, OperatorNeeded, "hl7-ar"),
        ({"code": "XX"}, RetryLater, "peer-answer-odd"),
        ({"code": "AA", "control_id": "OTHER"}, RetryLater, "peer-answer-odd"),
    ],
)
def test_acknowledgements(shipment: Shipment, answer: dict[str, str], kind: type[Exception], code: str) -> None:
    with tcp_peer(answering(**answer)) as port, pytest.raises(kind) as fault:
        listener(port).deliver(shipment)
    assert fault.value.code == code
    assert "Secret" not in str(fault.value)


def test_receipt_alone_is_less_than_acceptance(shipment: Shipment) -> None:
    with tcp_peer(answering("CA")) as port:
        assert listener(port).deliver(shipment).outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (mute, "peer-silent"),
        (lambda sock: None, "peer-aborted"),
        (lambda sock: hear(sock) and None, "peer-aborted"),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n\x1c\r"), "peer-answer-odd"),
        (saying(b"\x0bnonsense\x1c\r"), "peer-answer-odd"),
        (saying(b"\x0b" + b"x" * 100_000), "peer-answer-odd"),
        (dripping(b"\x0bMSH", b"|"), "peer-too-slow"),
    ],
)
def test_what_is_no_acknowledgement_ends_in_time(shipment: Shipment, behaviour: Any, code: str) -> None:
    began = time.monotonic()
    with tcp_peer(behaviour) as port, pytest.raises(RetryLater) as fault:
        listener(port, timeout_s=0.8, deadline_s=1.5).deliver(shipment)
    assert fault.value.code == code
    assert time.monotonic() - began < 4


def test_nobody_there(shipment: Shipment) -> None:
    for work in (lambda ours: ours.deliver(shipment), lambda ours: ours.probe()):
        with pytest.raises(RetryLater) as fault:
            work(listener(free_port()))
        assert fault.value.code == "peer-unreachable"


def test_tls(shipment: Shipment, certificates: Certificates) -> None:
    with tcp_peer(answering("AA"), tls=certificates.server_context()) as port:
        assert listener(port, tls=certificates.client).deliver(shipment).outcome is Outcome.CONFIRMED
        for tls in (certificates.nobody, certificates.distrustful):
            with pytest.raises(OperatorNeeded) as fault:
                listener(port, tls=tls).deliver(shipment)
            assert fault.value.code == "tls-failed"
            with pytest.raises(OperatorNeeded) as fault:
                listener(port, tls=tls).probe()
            assert fault.value.code == "tls-failed"
    with tcp_peer(mute) as port:
        assert listener(port).probe() == "The peer takes connections."
