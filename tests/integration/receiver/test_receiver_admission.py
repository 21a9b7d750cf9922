"""Who may send: titles, networks, certificates; each decision stands in the audit trail."""

import ssl
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from receiver_node import Make, Receiver
from receiver_raw import VERIFICATION, associate_rq, associated, read_pdu, store

from dicom_maker import ROOT, make_slice
from pneumoscope.config import load_settings
from pneumoscope.node.check import Verdict, check
from servers import free_port, wait_for

LISTED = '[[dicom.senders]]\nae_title = "CT1"\naddresses = ["127.0.0.1/32"]\n'
ELSEWHERE = '[[dicom.senders]]\nae_title = "CT1"\naddresses = ["10.0.0.0/8", "2001:db8::/32"]\n'


def rejection(receiver: Receiver, *, calling: str = "CT1", called: str = "PNEUMOSCOPE") -> tuple[int, int, int] | None:
    """Result, source and reason of the A-ASSOCIATE-RJ."""
    with receiver.connect() as sock:
        sock.sendall(associate_rq(contexts={1: VERIFICATION}, calling=calling, called=called))
        kind, body = read_pdu(sock)
        return (body[1], body[2], body[3]) if kind == 3 else None


def test_only_listed_titles_from_listed_networks_calling_us(make: Make, study: Path) -> None:
    receiver = make(LISTED)
    assert rejection(receiver) is None
    assert rejection(receiver, calling="CT2") == (1, 1, 3)  # PS3.8 Table 9-21: calling AE title not recognized
    assert rejection(receiver, called="PACS") == (1, 1, 7)
    assert receiver.echo()
    assert not receiver.echo(aet="CT2")
    assert receiver.send(study, aet="CT2") != 0
    assert receiver.send(study) == 0
    receiver.at_rest(24)
    reasons = ["called-ae-title", "calling-ae-title", "calling-ae-title", "calling-ae-title"]
    wait_for(lambda: sorted(receiver.audited("refused")) == reasons, what="the audit entries")
    wait_for(lambda: len(receiver.audited("success")) == 3, what="the audit entries")


def test_a_listed_title_from_elsewhere_is_refused(make: Make) -> None:
    receiver = make(ELSEWHERE)
    assert rejection(receiver) == (1, 1, 3)
    wait_for(lambda: receiver.audited("refused") == ["address"], what="the audit entry")


def tls(folder: Path) -> str:
    return (
        f'[dicom.tls]\ncertificate = "{folder / "server.pem"}"\nkey = "{folder / "server.key"}"\n'
        f'authorities = "{folder / "ca.pem"}"\n'
    )


def test_tls_with_a_certificate_of_the_peer(
    share: Make, certificates: Path, study: Path, study_uids: list[str], tmp_path: Path
) -> None:
    receiver = share(tls(certificates))
    own = ("+tls", str(certificates / "client.key"), str(certificates / "client.pem"), "+cf", str(certificates / "ca.pem"))
    assert receiver.send(study, options=own) == 0
    assert receiver.at_rest(24) == study_uids
    anonymous = ("+tla", "+cf", str(certificates / "ca.pem"))
    foreign = (
        "+tls",
        str(certificates / "stranger.key"),
        str(certificates / "stranger.pem"),
        "+cf",
        str(certificates / "ca.pem"),
    )
    assert receiver.echo(*own)
    query = ["findscu", "-S", "-aet", "CT1", "-aec", "PNEUMOSCOPE", *own, "-X", "-od", str(tmp_path)]
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]
    subprocess.run([*query, *keys, "127.0.0.1", str(receiver.port)], check=True, capture_output=True, timeout=60)
    assert [dcmread(file).StudyInstanceUID for file in tmp_path.glob("rsp*.dcm")] == [f"{ROOT}.1"]
    assert not receiver.echo(*anonymous)
    assert not receiver.echo(*foreign)
    assert not receiver.echo()  # without TLS


def looked_at(receiver: Receiver, title: str) -> tuple[Verdict, str]:
    """What ``pneumoscope check`` says of it."""
    lines = check(load_settings(receiver.folder / "node.toml"))
    return next((line.verdict, line.text) for line in lines if line.title == title)


def test_the_check_knows_a_listener_that_does_not_list_this_machine(make: Make) -> None:
    receiver = make(LISTED)
    verdict, text = looked_at(receiver, "DICOM port")
    assert (verdict, text.endswith("this machine, which is not among dicom.senders.")) == (Verdict.GOOD, True)
    receiver.kill()
    assert looked_at(receiver, "DICOM port") == (Verdict.LOOK, f"Port {receiver.port} is free: the node is not running.")


def test_the_check_tells_a_listener_of_another_title(make: Make) -> None:
    receiver = make()
    file = receiver.folder / "node.toml"
    file.write_text(file.read_text().replace("[dicom]", '[dicom]\nae_title = "OTHER"'))
    verdict, text = looked_at(receiver, "DICOM port")
    assert verdict is Verdict.WRONG
    assert "it does not know the AE title that we call, OTHER" in text


def test_the_check_of_a_listener_with_tls(make: Make, certificates: Path) -> None:
    assert looked_at(make(tls(certificates)), "DICOM port") == (Verdict.GOOD, "PNEUMOSCOPE answers.")
    alone = tls(certificates).replace("authorities", "# authorities")  # peers need no certificate
    assert looked_at(make(alone), "DICOM port") == (Verdict.GOOD, "PNEUMOSCOPE answers.")


def test_the_check_asks_a_sender_where_it_lists_one_host(make: Make) -> None:
    port = free_port()
    entry = '[[dicom.senders]]\nae_title = "{}"\naddresses = [{}]\nport = {}\n'
    receiver = make(entry.format("CT1", '"127.0.0.2/32"', port) + entry.format("CT2", '"10.0.0.0/8"', port))
    verdict, text = looked_at(receiver, "sender CT1")
    assert verdict is Verdict.WRONG
    assert text.startswith(f"127.0.0.2 port {port}: The peer cannot be reached")
    assert looked_at(receiver, "sender CT2") == (
        Verdict.GOOD,
        f"It is answered at the address that it calls from, port {port}.",
    )


def test_a_receiver_that_ends_gives_its_port_up_at_once(make: Make, study: Path) -> None:
    receiver = make()
    with receiver.connect() as sock:  # an association that goes on
        associated(sock)
        for process in receiver.processes:
            process.terminate()
        wait_for(lambda: receiver.listeners() == 0, seconds=5, what="the port")
        assert receiver.running


def test_a_silent_peer_in_the_handshake_stops_no_other(share: Make, certificates: Path) -> None:
    receiver = share(tls(certificates))
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    with receiver.connect(), receiver.connect() as half, receiver.connect() as sock:
        half.sendall(b"\x16\x03\x01")
        with context.wrap_socket(sock, server_hostname="localhost") as secured:
            associated(secured)
            for k in range(3):
                assert store(secured, make_slice(k), message_id=k + 1) == 0
    receiver.at_rest(3)


def test_tls_before_1_2_is_refused(share: Make, certificates: Path) -> None:
    receiver = share(tls(certificates))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with receiver.connect() as sock, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(sock)
