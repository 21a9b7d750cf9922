"""STOW-RS, against Orthanc's DICOMweb and servers that misbehave."""

import time
from io import BytesIO
from typing import Any

import pytest
from delivery_peers import Orthanc, deaf, dripping, free_port, mute, saying, tcp_peer
from dicomweb_client import DICOMwebClient
from pydicom import dcmread

from certificate_maker import Certificates
from pneumoscope.delivery import Outcome, Shipment
from pneumoscope.delivery.stow import StowServer
from pneumoscope.errors import OperatorNeeded, RetryLater


def server(port: int, **more: Any) -> StowServer:
    return StowServer(**{"name": "web", "url": f"http://127.0.0.1:{port}", "timeout_s": 10, **more})


def http(status: int, body: bytes = b"", media_type: str = "application/dicom+json") -> bytes:
    return (f"HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


def test_orthanc_has_each_object_once_after_two_deliveries(shipment: Shipment, pacs: Orthanc) -> None:
    ours = server(pacs.http_port, url=f"{pacs.url}/dicom-web/")
    receipts = [ours.deliver(shipment), ours.deliver(shipment)]
    assert [(receipt.outcome, receipt.sent) for receipt in receipts] == [(Outcome.CONFIRMED, 6)] * 2
    sent = {ds.SOPInstanceUID: ds for ds in (dcmread(BytesIO(parcel.content)) for parcel in shipment.objects)}
    assert pacs.uids() == sorted(sent)
    sr = next(ds for ds in sent.values() if ds.Modality == "SR")
    client = DICOMwebClient(f"{pacs.url}/dicom-web")
    assert client.retrieve_instance(sr.StudyInstanceUID, sr.SeriesInstanceUID, sr.SOPInstanceUID) == sr


def test_probe(pacs: Orthanc) -> None:
    assert "lets us in" in server(pacs.http_port, url=f"{pacs.url}/dicom-web").probe()
    assert "takes no queries" in server(pacs.http_port, url=f"{pacs.url}/nothing-here").probe()
    with pytest.raises(RetryLater):
        server(free_port()).probe()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, OperatorNeeded),
        (401, OperatorNeeded),
        (403, OperatorNeeded),
        (404, OperatorNeeded),
        (302, OperatorNeeded),
        (408, RetryLater),
        (429, RetryLater),
        (500, RetryLater),
        (503, RetryLater),
    ],
)
def test_statuses(shipment: Shipment, status: int, kind: type[Exception]) -> None:
    with tcp_peer(saying(http(status, b"Mr Secret is known here", "text/plain"))) as port, pytest.raises(kind) as fault:
        server(port).deliver(shipment)
    assert fault.value.code == f"http-{status}"
    assert "Secret" not in str(fault.value)


def test_some_stored_is_not_enough(shipment: Shipment) -> None:
    body = (
        b'{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3"]}}]},'
        b'"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.4"]},"00081197":{"vr":"US","Value":[42752]}}]}}'
    )
    with tcp_peer(saying(http(202, body))) as port, pytest.raises(RetryLater, match="1 of 6") as fault:
        server(port).deliver(shipment)
    assert fault.value.code == "peer-out-of-resources"


def test_ok_without_a_list_is_delivered_only(shipment: Shipment) -> None:
    with tcp_peer(saying(http(200))) as port:
        assert server(port).deliver(shipment).outcome is Outcome.DELIVERED


def test_credentials(shipment: Shipment) -> None:
    heard = []

    def note(sock: Any) -> None:
        heard.append(sock.recv(65536))
        sock.sendall(http(200))

    with tcp_peer(note) as port:
        server(port, token="t0ken").probe()
        server(port, user="me", password="pw").probe()
    assert b"Authorization: Bearer t0ken" in heard[0]
    assert b"Authorization: Basic bWU6cHc=" in heard[1]
    assert "t0ken" not in repr(server(1, token="t0ken"))


@pytest.mark.parametrize("behaviour", [mute, deaf])
def test_silence_ends_in_time(shipment: Shipment, behaviour: Any) -> None:
    began = time.monotonic()
    with tcp_peer(behaviour) as port, pytest.raises(RetryLater) as fault:
        server(port, timeout_s=1).deliver(shipment)
    assert fault.value.code == "peer-silent"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("prefix", [b"HTTP/1.1 200 OK\r\nX-Header: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_a_drip_is_ended_by_the_deadline(prefix: bytes) -> None:
    began = time.monotonic()
    with tcp_peer(dripping(prefix, b"x")) as port, pytest.raises(RetryLater) as fault:
        server(port, timeout_s=10, deadline_s=1).probe()
    assert fault.value.code == "peer-too-slow"
    assert time.monotonic() - began < 5


def test_what_is_no_http_and_no_url(shipment: Shipment) -> None:
    with tcp_peer(saying(b"\x04\0\0\0nonsense\r\n\r\n")) as port, pytest.raises(RetryLater) as fault:
        server(port).deliver(shipment)
    assert fault.value.code == "peer-aborted"
    for url in ("ftp://127.0.0.1/x", "nonsense", "http://[::1"):
        with pytest.raises(OperatorNeeded) as wrong:
            server(1, url=url).deliver(shipment)
        assert wrong.value.code == "url-wrong"


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with tcp_peer(saying(http(200, bytes(5 * 2**20)))) as port, pytest.raises(OperatorNeeded) as fault:
        server(port).probe()
    assert fault.value.code == "peer-answer-odd"


def test_tls(shipment: Shipment, certificates: Certificates) -> None:
    with tcp_peer(saying(http(200)), tls=certificates.server_context()) as port:
        url = f"https://localhost:{port}"
        assert "lets us in" in server(port, url=url, tls=certificates.client).probe()
        for tls in (certificates.nobody, certificates.distrustful):
            with pytest.raises(OperatorNeeded) as fault:
                server(port, url=url, tls=tls).probe()
            assert fault.value.code == "tls-failed"
