"""What dcmtk and hostile peers send: filed once, bit for bit, or refused with the status that the standard has for it."""

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread
from receiver_node import Make, Receiver
from receiver_raw import (
    ABORT,
    RELEASE_RQ,
    associate_rq,
    associated,
    command,
    encoded,
    p_data,
    pdv,
    read_pdu,
    status_of,
    store,
)

from dicom_maker import make_series, make_slice
from pneumoscope.store.schema import arrival, image
from servers import wait_for

SYNTAXES = {
    "explicit": ([], "-xe"),
    "implicit": ([], "-xi"),
    "jpeg lossless": (["dcmcjpeg", "+e1"], "-xs"),
    "jpeg-ls": (["dcmcjpls"], "-xt"),
    "rle": (["dcmcrle"], "-xr"),
    "lossy jpeg": (["dcmcjpeg", "+eb"], "-xy"),
}


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_study_by_storescu_in_its_transfer_syntax(
    receiver: Receiver, study: Path, study_uids: list[str], tmp_path: Path, name: str
) -> None:
    compress, option = SYNTAXES[name]
    source = study
    if compress:
        source = tmp_path / "compressed"
        source.mkdir()
        for file in sorted(study.iterdir()):
            subprocess.run([*compress, str(file), str(source / file.name)], check=True, capture_output=True)
    assert receiver.send(source, options=(option,)) == 0
    filed = receiver.at_rest(24)
    assert len(filed) == 24
    if name != "lossy jpeg":  # which makes new objects
        assert filed == study_uids
    sent = {str(one.SOPInstanceUID): one for one in map(dcmread, sorted(source.iterdir()))}
    for row in receiver.rows(image):
        got, original = dcmread(receiver.files.path(row["key"])), sent[row["SOPInstanceUID"]]
        assert got.file_meta.MediaStorageSOPInstanceUID == got.SOPInstanceUID
        assert got.PixelData == original.PixelData
        assert got.PatientName == original.PatientName
        if compress:
            assert got.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID


def test_a_study_by_dcmsend(receiver: Receiver, study: Path, study_uids: list[str]) -> None:
    assert receiver.send(study, tool="dcmsend") == 0
    assert receiver.at_rest(24) == study_uids
    (row,) = receiver.rows(arrival)
    assert (row["channel"], row["sender"], row["address"]) == ("dicom", "CT1", "127.0.0.1")


def test_bytes_are_kept_as_they_came(receiver: Receiver) -> None:
    dataset = make_slice(0)
    with receiver.connect() as sock:
        assert store(associated(sock), dataset, step=777) == 0x0000
        sock.sendall(RELEASE_RQ)
        assert read_pdu(sock)[0] == 6
    receiver.at_rest(1)
    (row,) = receiver.rows(image)
    assert row["sha256"] == hashlib.sha256(encoded(dataset)).hexdigest()
    content = receiver.files.path(row["key"]).read_bytes()
    assert content[:132] == bytes(128) + b"DICM" and content.endswith(encoded(dataset))


def test_command_and_data_in_one_pdu_or_a_byte_at_a_time(receiver: Receiver) -> None:
    first, second = make_slice(0), make_slice(1)
    with receiver.connect() as sock:
        associated(sock)
        content, order = encoded(first), command(uid=str(first.SOPInstanceUID).encode())
        sock.sendall(p_data(pdv(order, control=3), pdv(content[:99], control=0), pdv(content[99:], control=2)))
        assert status_of(read_pdu(sock)[1]) == 0
        content, order = encoded(second), command(uid=str(second.SOPInstanceUID).encode(), message_id=2)
        pieces = [p_data(pdv(order[:7], control=1)), p_data(pdv(order[7:], control=3)), p_data(pdv(content, control=2))]
        for byte in pieces[0] + pieces[1]:
            sock.sendall(bytes([byte]))
        sock.sendall(pieces[2])
        assert status_of(read_pdu(sock)[1]) == 0
    receiver.at_rest(2)


def test_echo_leaves_no_arrival(receiver: Receiver) -> None:
    assert receiver.echo()
    assert receiver.rows(arrival) == []


def test_a_store_after_an_echo_on_one_association(receiver: Receiver) -> None:
    with receiver.connect() as sock:
        associated(sock)
        for message_id in (1, 2):
            order = command(uid=None, sop_class="1.2.840.10008.1.1", field=0x30, data_set=0x0101, message_id=message_id)
            sock.sendall(p_data(pdv(order, control=3, context=3)))
            assert status_of(read_pdu(sock)[1]) == 0
        assert store(sock, make_slice(0), message_id=3) == 0
    receiver.at_rest(1)


def test_four_associations_at_once(receiver: Receiver, tmp_path: Path) -> None:
    folders = [tmp_path / str(n) for n in range(4)]
    for n, folder in enumerate(folders):
        make_series(folder, study=str(n + 1), slices=40)
    senders = [threading.Thread(target=receiver.send, args=(folder,)) for folder in folders]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(receiver.at_rest(160)) == 160
    assert len(receiver.rows(arrival)) == 4


def test_two_receivers_share_a_port(make: Make) -> None:
    receiver = make().start()
    took: set[str] = set()
    for n in range(64):  # the system chooses at random who gets a connection
        with receiver.connect() as sock:
            assert store(associated(sock), make_slice(0, study=str(n + 1))) == 0
        receiver.at_rest(n + 1)
        took = {row["process_id"] for row in receiver.rows(arrival)}
        if len(took) == 2:
            break
    assert len(took) == 2


def test_sent_again_it_is_filed_once_and_what_changed_is_kept_apart(receiver: Receiver, study: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert receiver.send(study) == 0
    receiver.at_rest(24)
    changed = make_series(tmp_path / "changed", slices=2, PatientID="OTHER")
    assert receiver.send(*changed) == 0
    wait_for(lambda: receiver.aside() == ["changed-object"] * 2 and receiver.all_closed(), what="two set aside")
    assert len(receiver.filed()) == 24


@pytest.mark.parametrize("uid", [b"../../../../tmp/escaped", b"1" * 66, b"", b"1.2.a", b"/etc/passwd", b"1.2\n3"])
def test_hostile_uids_cannot_leave_the_store(receiver: Receiver, uid: bytes) -> None:
    with receiver.connect() as sock:
        assert store(associated(sock), make_slice(0), uid=uid) == 0xA900
        assert store(sock, make_slice(1), message_id=2) == 0x0000
    receiver.at_rest(1)
    outside = [path for path in receiver.folder.parent.rglob("*") if path.is_file() and not path.is_relative_to(receiver.kept)]
    assert {path.name for path in outside} <= {"node.toml", "log"}


def test_a_uid_that_is_not_that_of_the_command_is_set_aside(receiver: Receiver) -> None:
    with receiver.connect() as sock:
        assert store(associated(sock), make_slice(0), uid=b"1.2.3.4") == 0
    wait_for(lambda: receiver.aside() == ["uid-mismatch"] and receiver.all_closed(), what="one set aside")
    assert receiver.filed() == []


def test_a_class_that_is_not_that_of_the_context_is_refused(receiver: Receiver) -> None:
    with receiver.connect() as sock:
        associated(sock)
        order = command(uid=b"1.2.3", sop_class="1.2.840.10008.5.1.4.1.1.4")
        sock.sendall(p_data(pdv(order, control=3)) + p_data(pdv(encoded(make_slice(0)), control=2)))
        assert status_of(read_pdu(sock)[1]) == 0x0122


def test_classes_that_we_do_not_keep_are_not_accepted(receiver: Receiver) -> None:
    with receiver.connect() as sock:
        sock.sendall(associate_rq(contexts={1: "1.2.840.10008.5.1.4.1.1.4"}))  # MR
        kind, body = read_pdu(sock)
        at = body.index(b"\x21\x00")
        assert (kind, body[at + 6]) == (2, 3)  # abstract syntax not supported (PS3.8 Table 9-18)


def test_an_object_larger_than_allowed_is_refused_and_costs_no_memory(make: Make) -> None:
    receiver = make(head="max_object_mb = 1")
    before = psutil.Process(receiver.processes[0].pid).memory_info().rss
    with receiver.connect() as sock:
        associated(sock)
        sock.sendall(p_data(pdv(command(uid=b"1.2.3"), control=3)))
        part = p_data(pdv(bytes(100_000), control=0))
        for _ in range(3000):  # 300 MB
            sock.sendall(part)
        sock.sendall(p_data(pdv(b"", control=2)))
        assert status_of(read_pdu(sock)[1]) == 0xA700
        assert psutil.Process(receiver.processes[0].pid).memory_info().rss - before < 40 * 2**20
        assert store(sock, make_slice(0), message_id=2) == 0  # the association goes on
    receiver.at_rest(1)


def test_below_the_watermark_objects_are_refused(make: Make, study: Path) -> None:
    receiver = make("[disk]\nwatermark = 0.999\n")
    with receiver.connect() as sock:
        associated(sock)
        assert [store(sock, make_slice(0), message_id=n) for n in (1, 2)] == [0xA700, 0xA700]
    assert receiver.filed() == receiver.spooled() == []
    assert receiver.log.count("everything sent is refused with 0xA700") == 1


def test_a_disk_that_is_full_refuses_and_recovers(make: Make, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        receiver = make("[disk]\nwatermark = 0.000001\n")
        receiver.stop()
        shutil.rmtree(receiver.kept / "spool", ignore_errors=True)
        (receiver.kept / "spool").symlink_to(disk)
        receiver.start()
        with receiver.connect() as sock:
            associated(sock)
            big = make_slice(0, Rows=2048, Columns=1024, PixelData=bytes(4 * 2**20))
            assert store(sock, big) == 0xA700
            assert list(disk.rglob("*.part")) == []
            time.sleep(1.2)  # the disk is asked again
            assert store(sock, make_slice(1), message_id=2) == 0
        receiver.at_rest(1)
        receiver.kill()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


JUNK = {
    "random": os.urandom(5000),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a PDU of 4 GB": b"\x01\x00\xff\xff\xff\xff" + b"x" * 1000,
    "half an association": associate_rq(contexts={1: "1.2"})[:50],
    "a damaged association": associate_rq(contexts={1: "1.2"})[:74] + os.urandom(60),
    "data before an association": p_data(pdv(b"x", control=3)),
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_ends_its_own_connection_and_no_other(receiver: Receiver, name: str) -> None:
    with receiver.connect() as good:
        associated(good)
        with receiver.connect() as bad:
            bad.sendall(JUNK[name])
            assert store(good, make_slice(0)) == 0
    assert receiver.echo()
    receiver.at_rest(1)


MALFORMED = {
    "a fragment longer than its PDU": struct.pack(">BxL", 4, 6) + struct.pack(">LBB", 900, 1, 3),
    "a command that is none": p_data(pdv(os.urandom(60), control=3)),
    "a context that was not accepted": p_data(pdv(command(uid=b"1.2.3"), control=3, context=99)),
    "data without a command": p_data(pdv(b"x" * 100, control=2)),
    "an endless command": p_data(pdv(bytes(60_000), control=1)) * 3,
    "a longer PDU than agreed": struct.pack(">BxL", 4, 2**31) + b"x" * 1000,
    "a PDU of unknown kind": b"\x09\x00\x00\x00\x00\x04abcd",
    "a command within an object": p_data(pdv(command(uid=b"1.2.3"), control=3)) * 2,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_dicom_within_an_association_aborts_it(receiver: Receiver, name: str) -> None:
    with receiver.connect() as sock:
        associated(sock)
        assert store(sock, make_slice(0)) == 0
        sock.sendall(MALFORMED[name])
        with pytest.raises(ConnectionError):
            while read_pdu(sock)[0] != 7:  # an A-ABORT, or the end
                pass
            raise ConnectionError
    receiver.at_rest(1)
    assert receiver.echo()


@pytest.mark.parametrize("end", ["closed", "aborted", "reset"])
def test_what_breaks_off_in_mid_image_leaves_what_was_acknowledged(receiver: Receiver, end: str) -> None:
    sock = receiver.connect()
    associated(sock)
    for k in range(3):
        assert store(sock, make_slice(k), message_id=k + 1) == 0
    content = encoded(make_slice(3))
    sock.sendall(p_data(pdv(command(uid=b"1.2.3"), control=3)) + p_data(pdv(content[: len(content) // 2], control=0)))
    if end == "aborted":
        sock.sendall(ABORT)
    elif end == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        sock.sendall(p_data(pdv(content, control=0))[:500])
    sock.close()
    assert len(receiver.at_rest(3)) == 3
    assert receiver.aside() == []


@pytest.mark.parametrize("wait_s", [0.0, 0.001, 0.01])
def test_who_hangs_up_before_the_answer_leaves_no_arrival_open(receiver: Receiver, wait_s: float) -> None:
    for k in range(6):
        dataset = make_slice(k)
        with receiver.connect() as sock:
            associated(sock)
            order = command(uid=str(dataset.SOPInstanceUID).encode())
            sock.sendall(p_data(pdv(order, control=3)) + p_data(pdv(encoded(dataset), control=2)))
            time.sleep(wait_s)
    wait_for(receiver.all_closed, what="every arrival to be closed")
    assert receiver.echo()
    wait_for(receiver.all_closed, what="every arrival to be closed")


def test_a_study_is_not_complete_while_its_sender_is_at_it(receiver: Receiver) -> None:
    with receiver.connect() as sock:
        associated(sock)
        for k in range(3):
            assert store(sock, make_slice(k), message_id=k + 1) == 0
        wait_for(lambda: len(receiver.filed()) == 3, what="filing while the association is open")
        assert receiver.open_arrivals() == 1
        sock.sendall(RELEASE_RQ)
    receiver.at_rest(3)
    assert receiver.open_arrivals() == 0


def test_many_requests_without_waiting_for_answers(receiver: Receiver) -> None:
    with receiver.connect() as sock:
        associated(sock)
        datasets = [make_slice(k) for k in range(30)]
        sender = threading.Thread(
            target=lambda: [
                sock.sendall(
                    p_data(pdv(command(uid=str(one.SOPInstanceUID).encode(), message_id=n + 1), control=3))
                    + p_data(pdv(encoded(one), control=2))
                )
                for n, one in enumerate(datasets)
            ]
        )
        sender.start()
        assert [status_of(read_pdu(sock)[1]) for _ in datasets] == [0] * 30
        sender.join()
    receiver.at_rest(30)


@pytest.mark.parametrize("on", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
def test_killed_in_mid_association_everything_acknowledged_is_filed_once(
    make: Make, request: pytest.FixtureRequest, on: str
) -> None:
    receiver = make(url=request.getfixturevalue("postgres_url") if on == "postgresql" else "")
    acknowledged = []
    with receiver.connect() as sock:
        associated(sock)
        for k in range(40):
            assert store(sock, make_slice(k), message_id=k + 1) == 0
            acknowledged.append(str(make_slice(k).SOPInstanceUID))
        content = encoded(make_slice(40))
        sock.sendall(p_data(pdv(command(uid=b"1.2.3"), control=3)) + p_data(pdv(content[:5000], control=0)))
        receiver.kill()
    assert receiver.rows(arrival)[0]["closed_at"] is None
    receiver.start()
    assert receiver.at_rest(40) == sorted(acknowledged)
    assert receiver.aside() == []


def test_asked_to_stop_it_lets_associations_end_and_files_everything(receiver: Receiver) -> None:
    with receiver.connect() as sock:
        associated(sock)
        assert store(sock, make_slice(0)) == 0
        receiver.processes[0].terminate()
        time.sleep(1)
        assert store(sock, make_slice(1), message_id=2) == 0
        with pytest.raises(OSError):
            receiver.connect()
        sock.sendall(RELEASE_RQ)
        assert read_pdu(sock)[0] == 6
    assert receiver.stop() == [0]
    assert len(receiver.at_rest(2)) == 2
    assert "Traceback" not in receiver.log


@pytest.mark.soak
def test_asked_to_stop_it_does_not_wait_for_ever(receiver: Receiver) -> None:
    with receiver.connect() as sock:
        associated(sock)
        assert store(sock, make_slice(0)) == 0
        started_s = time.monotonic()
        assert receiver.stop() == [0]
        assert time.monotonic() - started_s < 20
    assert len(receiver.at_rest(1)) == 1


def test_nothing_of_a_patient_is_logged(make: Make) -> None:
    receiver = make('[logs]\nlevel = "debug"\n')
    with receiver.connect() as sock:
        associated(sock)
        assert store(sock, make_slice(0)) == 0
        assert store(sock, make_slice(0, PatientID="SECRET-ID-2"), message_id=2) == 0
        assert store(sock, make_slice(1), uid=b"1.2.3.4", message_id=3) == 0
        sock.sendall(os.urandom(300))
    wait_for(lambda: len(receiver.aside()) == 2 and receiver.all_closed(), what="two set aside")
    receiver.stop()
    assert "SECRET" not in receiver.log.upper()


def test_a_silent_association_is_ended(share: Make) -> None:
    receiver = share(head="idle_timeout_s = 1")
    with receiver.connect() as sock:
        associated(sock)
        assert store(sock, make_slice(0)) == 0
        kind, _ = read_pdu(sock)
        assert kind == 7  # A-ABORT
    receiver.at_rest(1)


def test_an_object_that_stops_half_way_is_given_up(share: Make) -> None:
    receiver = share(head="idle_timeout_s = 1")
    with receiver.connect() as sock:
        associated(sock)
        assert store(sock, make_slice(0)) == 0
        sock.sendall(p_data(pdv(command(uid=b"1.2.3"), control=3)) + p_data(pdv(bytes(5000), control=0))[:300])
        assert receiver.at_rest(1)


def test_more_associations_than_allowed_are_refused(make: Make) -> None:
    receiver = make(head="max_associations = 2")
    first, second = associated(receiver.connect()), associated(receiver.connect())
    with receiver.connect() as third:
        third.sendall(associate_rq(contexts={1: "1.2.840.10008.1.1"}))
        kind, body = read_pdu(third)
        assert (kind, body[1:4]) == (3, bytes([2, 3, 2]))  # transient, local limit exceeded (PS3.8 Table 9-21)
    wait_for(lambda: receiver.audited("refused") == ["limit"], what="the audit entry")
    assert store(first, make_slice(0)) == store(second, make_slice(1)) == 0
    first.close()
    second.close()
    receiver.at_rest(2)
