"""Admission, command sets and file meta: read as they are written, and never more than is there."""

import contextlib
import io
import socket
import struct
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ, C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode
from pynetdicom.pdu import P_DATA_TF

import databases
from pneumoscope.config import Dicom, Sender, Settings, Tls
from pneumoscope.filing.spool import Spool
from pneumoscope.receiver import identifiers
from pneumoscope.receiver import lane as lane_module
from pneumoscope.receiver.admission import ADDRESS, CALLED, CALLING, admit, may_query
from pneumoscope.receiver.commitment import NO_SUCH_OBJECT, judge
from pneumoscope.receiver.house import Caller, House
from pneumoscope.receiver.lane import Lane, Malformed, read_command, response
from pneumoscope.receiver.operation import Unanswerable
from pneumoscope.receiver.room import Room
from pneumoscope.receiver.storing import Request, Storing, file_meta
from pneumoscope.store import FolderStore, Store
from pneumoscope.store.search import Level

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
UIDS = st.from_regex(r"[1-9][0-9]{0,8}(\.[1-9][0-9]{0,8}){1,5}", fullmatch=True)


def admitted(*senders: Sender, calling: str = "CT1", called: str = "PNEUMOSCOPE", address: str = "10.1.2.3") -> object:
    return admit(Dicom(senders=senders), calling=calling, called=called, address=address)


def test_who_is_listed_may_send() -> None:
    named = Sender(ae_title="CT1", addresses=("10.0.0.0/8",), priority="emergency")
    anyone = Sender(addresses=("10.0.0.0/8", "2001:db8::/32"))
    assert admitted(anyone, named) is named  # the entry of its own name says more
    assert admitted(anyone, named, calling="CT2") is anyone
    assert admitted(named, calling="CT2") is CALLING
    assert admitted(named, called="OTHER") is CALLED
    assert admitted(named, address="11.1.2.3") is ADDRESS
    assert admitted(anyone, address="2001:db8::5") is anyone
    assert admitted(anyone, address="::ffff:10.1.2.3") is anyone  # IPv4 on a socket of both kinds
    assert admitted(anyone, address="nonsense") is ADDRESS


@pytest.mark.parametrize(
    ("addresses", "query", "authorities", "may"),
    [
        (("127.0.0.0/8", "::1/128"), None, None, True),
        (("10.1.2.3", "10.1.2.4/32", "2001:db8::5"), None, None, True),
        (("10.1.2.0/30",), None, None, False),  # anyone there can bear the title
        (("10.1.2.0/30",), True, None, True),
        (("10.1.2.0/30",), None, Path("ca.pem"), True),
        (("0.0.0.0/0",), None, None, False),
        (("0.0.0.0/0",), True, Path("ca.pem"), True),
        (("127.0.0.0/8",), False, Path("ca.pem"), False),
    ],
)
def test_who_may_query(addresses: tuple[str, ...], query: bool | None, authorities: Path | None, may: bool) -> None:
    sender = Sender(ae_title="WS1", addresses=addresses, query=query)
    settings = Dicom(senders=(sender,), tls=Tls(certificate=Path("c"), key=Path("k"), authorities=authorities))
    assert may_query(settings, sender) is may


def test_nobody_may_query_from_everywhere_without_a_certificate() -> None:
    for everywhere in ("0.0.0.0/0", "::/0"):
        with pytest.raises(ValidationError, match="authorities"):
            Dicom(senders=(Sender(ae_title="WS1", addresses=(everywhere,), query=True),))


def implicit(*elements: tuple[int, bytes]) -> Dataset:
    """A dataset as it comes from the network, by tag and value."""
    content = b"".join(struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value for tag, value in elements)
    return decode(io.BytesIO(content), True, True)


LEVEL, STUDY_UID = (0x00080052, b"STUDY "), (0x0020000D, b"1.2.3\0")


def test_only_keys_that_are_matched_by_are_decoded() -> None:
    length, thickness = (0x00080000, b"\4\0\0\0"), (0x00180050, b"nonsense")
    wanted = identifiers.query(implicit(length, LEVEL, thickness, STUDY_UID), root=Level.STUDY)
    assert wanted.unsupported  # the slice thickness, which is no number
    assert (wanted.level, wanted.keys, wanted.returned) == (Level.STUDY, {"StudyInstanceUID": "1.2.3"}, ("StudyInstanceUID",))
    assert not identifiers.query(implicit(length, LEVEL, STUDY_UID), root=Level.STUDY).unsupported


@given(content=st.binary(max_size=64))
def test_whatever_a_value_is_it_is_taken_or_refused(content: bytes) -> None:
    with contextlib.suppress(Unanswerable):
        identifiers.query(implicit(LEVEL, (0x00100010, content)), root=Level.STUDY)


@pytest.mark.parametrize("uid", [b"", b"*", b"1.2.?", b"../../x", b"1.2.3\\*"])
def test_retrievals_need_uids_in_full(uid: bytes) -> None:
    with pytest.raises(Unanswerable):
        identifiers.retrieval(implicit(LEVEL, (0x0020000D, uid)), root=Level.STUDY)
    with pytest.raises(Unanswerable):
        identifiers.retrieval(implicit((0x00080052, b"PATIENT "), (0x00100020, b"A*")), root=Level.PATIENT)


def test_several_studies_are_retrieved_at_once() -> None:
    keys = identifiers.retrieval(implicit(LEVEL, (0x0020000D, b"1.2.3\\1.2.4")), root=Level.STUDY)
    assert keys == {"StudyInstanceUID": "1.2.3\\1.2.4"}


def request(SOPInstanceUID: str, message_id: int = 1) -> Request:
    return Request(SOPClassUID=CT, SOPInstanceUID=SOPInstanceUID, TransferSyntaxUID=EXPLICIT, message_id=message_id)


@given(uid=UIDS, message_id=st.integers(0, 65535), originator=st.sampled_from(["", "PNEUMOSCOPE", "X"]))
def test_command_sets_of_the_library_are_read(uid: str, message_id: int, originator: str) -> None:
    primitive = C_STORE()
    primitive.MessageID, primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = message_id, CT, uid
    primitive.Priority, primitive.DataSet = 2, io.BytesIO(b"x")
    if originator:
        primitive.MoveOriginatorApplicationEntityTitle, primitive.MoveOriginatorMessageID = originator, 7
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    (first, *_) = message.encode_msg(1, 0)
    elements = read_command(bytes(first.presentation_data_value_list[0][1][1:]))
    assert elements[0x1000].rstrip(b"\0").decode() == uid
    assert int.from_bytes(elements[0x0110], "little") == message_id
    assert elements.get(0x1030, b"").strip().decode() == originator


@given(uid=UIDS, message_id=st.integers(0, 65535), status=st.sampled_from([0, 0xA700, 0xA900, 0xC000, 0x0122]))
def test_the_library_reads_our_responses(uid: str, message_id: int, status: int) -> None:
    pdu = P_DATA_TF()
    pdu.decode(response(5, request(uid, message_id), status))
    message = C_STORE_RSP()
    assert message.decode_msg(pdu.to_primitive())
    answer = message.message_to_primitive()
    assert (message.context_id, answer.Status, answer.MessageIDBeingRespondedTo) == (5, status, message_id)
    assert (answer.AffectedSOPInstanceUID, answer.AffectedSOPClassUID) == (uid, CT)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_set_or_malformed(content: bytes) -> None:
    with contextlib.suppress(Malformed):
        read_command(content)


@given(uid=UIDS, sender=st.from_regex(r"[A-Z0-9]{1,16}", fullmatch=True))
def test_file_meta_are_read_as_written(uid: str, sender: str) -> None:
    content = io.BytesIO(bytes(128) + b"DICM" + file_meta(request(uid), sender) + b"rest")
    read_preamble(content, force=False)
    meta = _read_file_meta_info(content)
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (CT, uid)
    assert (meta.TransferSyntaxUID, meta.SourceApplicationEntityTitle) == (EXPLICIT, sender)
    assert content.getvalue()[144 + int(meta.FileMetaInformationGroupLength) :] == b"rest"


def test_a_command_set_that_ends_early_is_malformed() -> None:
    with pytest.raises(Malformed):
        read_command(b"\0\0\0\1\xff\0\0\0ab")


@pytest.mark.parametrize(("over", "status", "kept"), [(False, 0x0000, 1), (True, 0xA700, 0)])
def test_an_object_that_ends_after_its_association_is_never_answered_with_success(
    tmp_path: Path, over: bool, status: int, kept: int
) -> None:
    """Its arrival is being filed and closed then, in another thread: what is kept now would be removed unfiled."""
    store = databases.store(tmp_path)
    house = House(Settings(), store, Spool(tmp_path / "spool"), Room(store.files, 1e-6), "receiver-1")
    storing, caller = Storing(house), Caller(sender=Sender(), calling="CT1", address="127.0.0.1")
    request = Request(SOPClassUID=CT, SOPInstanceUID="1.2.3", TransferSyntaxUID=EXPLICIT, message_id=1)
    receiving = storing.begin(request, caller)
    receiving.add(memoryview(b"some of a dataset"))
    caller.over = over
    assert storing.end(receiving, caller) == status
    assert len(list((house.spool.root / caller.arrival_id).iterdir())) == kept
    store.database.close()


def test_a_peer_that_drips_its_request_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps every timeout of a single read from passing, and the connection from others."""
    monkeypatch.setattr(lane_module, "UNANSWERED_S", 0.2)
    ours, theirs = socket.socketpair()
    lane = Lane(Association(AE(), "acceptor"), None, lambda *_: None, most_pdu_bytes=16_384)
    lane.socket = SimpleNamespace(socket=ours)
    request, sent = struct.pack(">BxL", 1, 200) + bytes(200), 0

    def drip() -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            for byte in request:
                theirs.sendall(bytes([byte]))
                sent += 1
                time.sleep(0.02)

    peer = threading.Thread(target=drip)
    peer.start()
    lane._read_pdu_data()
    ours.close()
    peer.join()
    theirs.close()
    assert lane.event_queue.get_nowait() == lane_module.LOST
    assert sent < len(request)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_uid_is_not_vouched_for(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    with databases.on(kind, request, tmp_path) as database:
        store = Store(database=database, files=FolderStore(tmp_path / "objects"))
        house = House(Settings(), store, Spool(tmp_path / "spool"), Room(store.files, 1e-6), "receiver-1")
        report = judge(house, "1.2.3", [(CT, "1.2.3"), (CT, "1.2\0.4"), (CT, "")])
    assert [item.FailureReason for item in report.FailedSOPSequence] == [NO_SUCH_OBJECT] * 3
