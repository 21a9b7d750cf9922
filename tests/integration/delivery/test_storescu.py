"""C-STORE and storage commitment, against dcmtk, Orthanc and pynetdicom."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from delivery_peers import Orthanc, dripping, free_port, mute, saying, storescp, tcp_peer, uids_in, wait_for
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance, Verification

from certificate_maker import Certificates
from pneumoscope.delivery import Outcome, Shipment
from pneumoscope.delivery.association import Peer, associate
from pneumoscope.delivery.commitment import Commitment
from pneumoscope.delivery.connection import Tls
from pneumoscope.delivery.mended import Socket
from pneumoscope.delivery.storescu import DicomNode
from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.records import Parcel
from pneumoscope.results.encode import encode


def node(port: int, **more: Any) -> DicomNode:
    usual = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "timeout_s": 10, "commitment": False}
    return DicomNode(**{**usual, **more})


def dicom(shipment: Shipment) -> list[bytes]:
    return [parcel.content for parcel in shipment.objects]


def uids(shipment: Shipment) -> list[str]:
    return sorted(dcmread(BytesIO(content)).SOPInstanceUID for content in dicom(shipment))


def test_every_object_arrives_as_it_was_stored(shipment: Shipment, tmp_path: Path) -> None:
    with storescp(tmp_path / "in", "+B") as port:
        receipt = node(port).deliver(shipment)
    assert (receipt.outcome, receipt.sent) == (Outcome.DELIVERED, 6)
    arrived = {dcmread(file).SOPInstanceUID: dcmread(file) for file in (tmp_path / "in").iterdir()}
    for content in dicom(shipment):
        sent = dcmread(BytesIO(content))
        assert arrived[sent.SOPInstanceUID] == sent


def test_a_peer_of_implicit_vr_only_gets_implicit_vr(shipment: Shipment, tmp_path: Path) -> None:
    with storescp(tmp_path / "in", "+xi", "+B") as port:
        node(port).deliver(shipment)
    assert uids_in(tmp_path / "in") == uids(shipment)
    assert {dcmread(file).file_meta.TransferSyntaxUID for file in (tmp_path / "in").iterdir()} == {ImplicitVRLittleEndian}


def test_many_small_objects_lose_no_answer(shipment: Shipment) -> None:
    """With Nagle's algorithm each would wait 40 ms; with pynetdicom's own pausing now and then an answer would get lost."""
    ds, parcels, seen = dcmread(BytesIO(shipment.named("sr.dcm").content)), [], []
    for k in range(60):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.{k + 1}"
        parcels.append(Parcel(name=f"{k}.dcm", media_type="application/dicom", content=encode(ds)))
    with scp(on_store=lambda event: seen.append(event.request.AffectedSOPInstanceUID) or 0x0000) as port:
        receipt = node(port).deliver(replace(shipment, parcels=tuple(parcels)))
    assert receipt.sent == len(seen) == 60


def test_the_socket_sends_at_once() -> None:
    peer = Peer(ae_title="PACS", host="127.0.0.1", port=0, calling_ae_title="US", tls=None, timeout_s=10, deadline_s=20)
    with scp() as port, associate(replace(peer, port=port), [build_context(Verification)]) as assoc:
        assert assoc.dul.socket.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_refused_association_needs_an_operator(shipment: Shipment, tmp_path: Path) -> None:
    with storescp(tmp_path / "in", "--refuse") as port, pytest.raises(OperatorNeeded) as fault:
        node(port).deliver(shipment)
    assert fault.value.code == "peer-refused"


@pytest.mark.parametrize("option", ["--abort-after", "--abort-during"])
def test_abort_is_tried_again_later(shipment: Shipment, tmp_path: Path, option: str) -> None:
    with storescp(tmp_path / "in", option) as port, pytest.raises(RetryLater) as fault:
        node(port).deliver(shipment)
    assert fault.value.code == "peer-aborted"
    assert "0 of 6" in str(fault.value)


def test_nobody_there(shipment: Shipment) -> None:
    with pytest.raises(RetryLater) as fault:
        node(free_port()).deliver(shipment)
    assert fault.value.code == "peer-unreachable"
    with pytest.raises(RetryLater) as fault:
        node(104, host="no-such-host.invalid").deliver(shipment)
    assert fault.value.code == "peer-unreachable"


def test_peer_that_sleeps_in_the_middle(shipment: Shipment, tmp_path: Path) -> None:
    began = time.monotonic()
    with storescp(tmp_path / "in", "--sleep-during", "4") as port, pytest.raises(RetryLater) as fault:
        node(port, timeout_s=1).deliver(shipment)
    assert fault.value.code == "peer-aborted"
    assert time.monotonic() - began < 4


def test_peer_that_takes_connections_and_says_nothing(shipment: Shipment) -> None:
    began = time.monotonic()
    with tcp_peer(mute) as port, pytest.raises(RetryLater) as fault:
        node(port, timeout_s=1).deliver(shipment)
    assert fault.value.code == "peer-silent"
    assert time.monotonic() - began < 4


def test_peer_that_drips_is_ended_by_the_deadline(shipment: Shipment) -> None:
    """Each byte comes within the timeout; an A-ASSOCIATE-AC that never ends."""
    began = time.monotonic()
    header = b"\x02\x00" + (10_000).to_bytes(4, "big")
    with tcp_peer(dripping(header, b"\0")) as port, pytest.raises(RetryLater) as fault:
        node(port, timeout_s=30, deadline_s=1.5).deliver(shipment)
    assert fault.value.code == "peer-too-slow"
    assert time.monotonic() - began < 6


def test_peer_that_speaks_something_else(shipment: Shipment) -> None:
    with tcp_peer(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port, pytest.raises(RetryLater) as fault:
        node(port, timeout_s=2).deliver(shipment)
    assert fault.value.code in ("peer-aborted", "peer-silent")


def mend(event: evt.Event) -> None:
    """The library's acceptor too leaves sockets open now and then, which would be taken for a leak of ours."""
    event.assoc.dul.socket.__class__ = Socket


@contextmanager
def scp(*, classes: tuple[str, ...] = (), on_store: Any = None, on_action: Any = None, title: str = "PACS") -> Iterator[int]:
    entity = AE(ae_title=title)
    entity.require_called_aet = True
    for context in AllStoragePresentationContexts:
        if not classes or context.abstract_syntax in classes:
            entity.add_supported_context(context.abstract_syntax, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    entity.add_supported_context(Verification)
    handlers = [(evt.EVT_C_STORE, on_store or (lambda event: 0x0000)), (evt.EVT_CONN_OPEN, mend)]
    if on_action:
        entity.add_supported_context(StorageCommitmentPushModel)
        handlers.append((evt.EVT_N_ACTION, on_action))
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


def test_wrong_called_title_needs_an_operator(shipment: Shipment) -> None:
    with scp(title="OTHER") as port, pytest.raises(OperatorNeeded, match="the AE title that we call") as fault:
        node(port).deliver(shipment)
    assert fault.value.code == "peer-refused"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (0xA700, RetryLater, "peer-out-of-resources"),
        (0x0110, RetryLater, "peer-failed"),
        (0xA900, OperatorNeeded, "peer-refused"),
        (0xC123, OperatorNeeded, "peer-refused"),
        (0x0124, OperatorNeeded, "peer-refused"),
    ],
)
def test_statuses(shipment: Shipment, status: int, kind: type[Exception], code: str) -> None:
    answers = iter([0x0000, 0xB000, 0x0111])
    with scp(on_store=lambda event: next(answers, status)) as port, pytest.raises(kind) as fault:
        node(port).deliver(shipment)
    assert fault.value.code == code
    assert "3 of 6" in str(fault.value)
    assert f"0x{status:04X}" in str(fault.value)


def test_what_the_peer_does_not_accept_is_named_and_the_rest_is_stored(shipment: Shipment) -> None:
    stored = []
    with (
        scp(classes=(SecondaryCaptureImageStorage,), on_store=lambda event: stored.append(1) or 0x0000) as port,
        pytest.raises(OperatorNeeded, match="Segmentation Storage, Comprehensive 3D SR Storage") as fault,
    ):
        node(port).deliver(shipment)
    assert fault.value.code == "peer-not-accepting"
    assert len(stored) == 4


def test_peer_that_accepts_nothing(shipment: Shipment) -> None:
    with scp(classes=("1.2.840.10008.5.1.4.1.1.1",)) as port, pytest.raises(OperatorNeeded) as fault:
        node(port).deliver(shipment)
    assert fault.value.code == "peer-not-accepting"


def committing(event_type: int, *, own_uid: bool = True, leave_out: int = 0, statuses: list[int] | None = None) -> Any:
    """N-ACTION handler that answers over the same association; ``statuses`` gets how the answer was answered."""

    def report(assoc: Any, request: Dataset) -> None:
        time.sleep(0.1)
        answer = Dataset()
        answer.TransactionUID = request.TransactionUID if own_uid else "2.25.77"
        answer.ReferencedSOPSequence = list(request.ReferencedSOPSequence)[leave_out:]
        status, _ = assoc.send_n_event_report(
            answer, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        if statuses is not None:
            statuses.append(status.get("Status"))

    def act(event: evt.Event) -> tuple[int, None]:
        threading.Thread(target=report, args=(event.assoc, event.action_information)).start()
        return 0x0000, None

    return act


def test_commitment_on_the_same_association(shipment: Shipment) -> None:
    with scp(on_action=committing(1)) as port:
        receipt = node(port, commitment=True, commitment_wait_s=5).deliver(shipment)
    assert receipt.outcome is Outcome.CONFIRMED


@pytest.mark.parametrize("act", [committing(2), committing(1, leave_out=1)])
def test_commitment_of_less_than_all_is_sent_again(shipment: Shipment, act: Any) -> None:
    with scp(on_action=act) as port, pytest.raises(RetryLater) as fault:
        node(port, commitment=True, commitment_wait_s=5).deliver(shipment)
    assert fault.value.code == "not-committed"


def test_the_peer_has_our_answer_to_its_report_before_we_release(shipment: Shipment, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the answer takes to go out after the report was heard."""
    heard, statuses = Commitment._report, []

    def slow(self: Commitment, event: evt.Event) -> tuple[int, None]:
        answer = heard(self, event)
        time.sleep(2)
        return answer

    monkeypatch.setattr(Commitment, "_report", slow)
    with scp(on_action=committing(1, statuses=statuses)) as port:
        receipt = node(port, commitment=True, commitment_wait_s=5).deliver(shipment)
    assert receipt.outcome is Outcome.CONFIRMED
    wait_for(lambda: statuses == [0x0000])


def test_report_of_another_transaction_is_not_ours(shipment: Shipment) -> None:
    with scp(on_action=committing(1, own_uid=False)) as port:
        receipt = node(port, commitment=True, commitment_wait_s=0.5).deliver(shipment)
    assert receipt.outcome is Outcome.PENDING


def test_commitment_not_offered_or_declined(shipment: Shipment) -> None:
    with scp() as port:
        assert node(port, commitment=True).deliver(shipment).outcome is Outcome.DELIVERED
    with scp(on_action=lambda event: (0x0110, None)) as port:
        receipt = node(port, commitment=True).deliver(shipment)
    assert receipt.outcome is Outcome.DELIVERED
    assert "took no request" in receipt.detail


def test_orthanc_commits_over_another_association(shipment: Shipment, pacs: Orthanc) -> None:
    """Sent twice: each object is there once, and each commitment is answered under its own transaction UID."""
    answers: dict[str, tuple[int, int]] = {}

    def hear(event: evt.Event) -> tuple[int, None]:
        report = event.event_information
        answers[report.TransactionUID] = (event.event_type, len(report.ReferencedSOPSequence))
        return 0x0000, None

    entity = AE(ae_title="PNEUMOSCOPE")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", pacs.modality_port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear), (evt.EVT_CONN_OPEN, mend)]
    )
    try:
        ours = node(pacs.dicom_port, commitment=True, commitment_wait_s=0.2)
        receipts = [ours.deliver(shipment), ours.deliver(shipment)]
        assert [receipt.outcome for receipt in receipts] == [Outcome.PENDING, Outcome.PENDING]
        wait_for(lambda: len(answers) == 2)
    finally:
        server.shutdown()
    assert answers == {receipt.transaction_uid: (1, 6) for receipt in receipts}
    assert pacs.uids() == uids(shipment)


def test_probe(pacs: Orthanc, tmp_path: Path) -> None:
    assert node(pacs.dicom_port).probe() == "The peer answers and takes all our objects; it offers storage commitment."
    with storescp(tmp_path / "in") as port:
        assert "no storage commitment" in node(port).probe()
    with scp(classes=(SecondaryCaptureImageStorage,)) as port, pytest.raises(OperatorNeeded, match="Segmentation Storage"):
        node(port).probe()
    with pytest.raises(RetryLater):
        node(free_port()).probe()


def test_orthanc_refuses_a_wrong_title(shipment: Shipment, pacs: Orthanc) -> None:
    with pytest.raises(OperatorNeeded) as fault:
        node(pacs.dicom_port, ae_title="WRONG").deliver(shipment)
    assert fault.value.code == "peer-refused"


def tls_options(certificates: Certificates) -> tuple[str, ...]:
    return ("+tls", str(certificates["server.key"]), str(certificates["server.pem"]), "+cf", str(certificates["ca.pem"]))


def test_tls_with_certificates_on_both_sides(shipment: Shipment, certificates: Certificates, tmp_path: Path) -> None:
    with storescp(tmp_path / "in", *tls_options(certificates)) as port:
        node(port, tls=certificates.client).deliver(shipment)
    assert uids_in(tmp_path / "in") == uids(shipment)


@pytest.mark.parametrize("who", ["nobody", "distrustful"])
def test_tls_without_trust_needs_an_operator(shipment: Shipment, certificates: Certificates, tmp_path: Path, who: str) -> None:
    with storescp(tmp_path / "in", *tls_options(certificates)) as port, pytest.raises(OperatorNeeded) as fault:
        node(port, tls=getattr(certificates, who)).deliver(shipment)
    assert fault.value.code == "tls-failed"
    assert not list((tmp_path / "in").iterdir())


def test_tls_towards_a_plain_peer_and_the_other_way(shipment: Shipment, certificates: Certificates, tmp_path: Path) -> None:
    with storescp(tmp_path / "plain") as port, pytest.raises((OperatorNeeded, RetryLater)) as fault:
        node(port, tls=certificates.client, timeout_s=3).deliver(shipment)
    assert fault.value.code in ("tls-failed", "peer-aborted")
    with storescp(tmp_path / "tls", *tls_options(certificates)) as port, pytest.raises(RetryLater) as fault:
        node(port, timeout_s=2).deliver(shipment)
    assert fault.value.code in ("peer-aborted", "peer-silent")


def test_unreadable_certificates_need_an_operator(shipment: Shipment, certificates: Certificates) -> None:
    tls = Tls(certificate=certificates["ca.pem"], key=certificates["client.key"], authorities=certificates["ca.pem"])
    with pytest.raises(OperatorNeeded) as fault:
        node(free_port(), tls=tls).deliver(shipment)
    assert fault.value.code == "tls-files"


def test_a_reading_without_dicom_objects_needs_no_peer(shipment: Shipment) -> None:
    bare = Shipment(reading_id=shipment.reading_id, StudyInstanceUID="", parcels=(shipment.named("reading.json"),))
    assert node(free_port()).deliver(bare).sent == 0
