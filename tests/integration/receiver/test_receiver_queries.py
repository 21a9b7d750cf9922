"""Query/Retrieve as dcmtk's tools, Orthanc, and peers that behave oddly ask it."""

import os
import re
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)
from receiver_node import Receiver

from dicom_maker import ROOT, make_series, make_slice
from pneumoscope.store.schema import audit, image
from servers import free_port, listening, orthanc, wait_for

FIND = StudyRootQueryRetrieveInformationModelFind
GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove
STUDY, OTHER = f"{ROOT}.1", f"{ROOT}.2"
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@pytest.fixture(scope="module")
def port() -> int:
    """Where the destination of moves listens, when there is one."""
    return free_port()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, study: Path, port: int) -> Iterator[Receiver]:
    """A receiver with a study of 24 CT slices, and one of three whose patient has a name beyond ASCII, one JPEG among them."""
    folder = tmp_path_factory.mktemp("full")
    made = Receiver(
        folder / "node",
        '[[dicom.senders]]\nae_title = "CT1"\n[[dicom.senders]]\nae_title = "SINK"\n[[dicom.senders]]\nae_title = "ORTHANC"\n'
        '[[dicom.senders]]\nae_title = "NOSY"\nquery = false\n'
        # a network, where anyone can bear a title
        '[[dicom.senders]]\nae_title = "WIDE"\naddresses = ["127.0.0.0/8", "10.0.0.0/8"]\n'
        f'[[destinations]]\nkind = "dicom"\nname = "sink"\nae_title = "SINK"\nhost = "127.0.0.1"\nport = {port}\n'
        f'[[pacs]]\nname = "away"\nae_title = "AWAY"\nhost = "127.0.0.1"\nport = {free_port()}\n',
    )
    other = folder / "other"
    files = make_series(other, slices=3, study="2", PatientName="Müller^Änne", PatientID="P-2", StudyDate="20210405")
    subprocess.run(["dcmcjpeg", str(files[2]), str(files[2])], check=True)
    try:
        made.start()
        assert made.send(study, options=("-xe",)) == 0
        assert made.send(other, tool="dcmsend") == 0
        made.at_rest(27)
        yield made
    finally:
        made.close()


def run(tool: str, receiver: Receiver, *options: str) -> str:
    """One of dcmtk's tools; what it says."""
    command = [tool, "-d", "-aet", "CT1", "-aec", "PNEUMOSCOPE", *options, "127.0.0.1", str(receiver.port)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    return done.stdout + done.stderr


def keys(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("-k", pair)]


def found(folder: Path) -> list[Dataset]:
    return [dcmread(file, force=True) for file in sorted(folder.glob("rsp*.dcm"))]


def test_findscu_finds_by_each_level_of_both_models(full: Receiver, tmp_path: Path) -> None:
    def find(name: str, model: str, *pairs: str) -> list[Dataset]:
        folder = tmp_path / name
        folder.mkdir()
        run("findscu", full, model, "-X", "-od", str(folder), *keys(*pairs))
        return found(folder)

    asked = ("PatientName=m*", "StudyDate=20210101-", "StudyInstanceUID", "ModalitiesInStudy", "NumberOfStudyRelatedInstances")
    (one,) = find("study", "-S", "QueryRetrieveLevel=STUDY", *asked)
    assert (one.StudyInstanceUID, one.ModalitiesInStudy, one.NumberOfStudyRelatedInstances) == (OTHER, "CT", 3)
    assert (str(one.PatientName), one.RetrieveAETitle, one.QueryRetrieveLevel) == ("Müller^Änne", "PNEUMOSCOPE", "STUDY")
    assert "PatientID" not in one  # nobody asked for it
    assert len(find("all", "-S", "QueryRetrieveLevel=STUDY", "StudyInstanceUID")) == 2
    assert find("none", "-S", "QueryRetrieveLevel=STUDY", "PatientID=P-3", "StudyInstanceUID") == []
    (series,) = find("series", "-S", "QueryRetrieveLevel=SERIES", f"StudyInstanceUID={STUDY}", "NumberOfSeriesRelatedInstances")
    assert (series.SeriesInstanceUID, series.NumberOfSeriesRelatedInstances) == (f"{STUDY}.1", 24)
    image = find(
        "image",
        "-S",
        "QueryRetrieveLevel=IMAGE",
        f"StudyInstanceUID={STUDY}",
        f"SeriesInstanceUID={STUDY}.1",
        "InstanceNumber=7",
    )
    assert [each.SOPInstanceUID for each in image] == [f"{STUDY}.1.7"]
    patients = find("patient", "-P", "QueryRetrieveLevel=PATIENT", "PatientID", "PatientName", "NumberOfPatientRelatedStudies")
    assert [(each.PatientID, each.NumberOfPatientRelatedStudies) for each in patients] == [("P-2", 1), ("SECRET-ID", 1)]
    (below,) = find("below", "-P", "QueryRetrieveLevel=STUDY", "PatientID=P-2", "StudyInstanceUID")
    assert below.StudyInstanceUID == OTHER


def brought(folder: Path, full: Receiver) -> dict[str, Dataset]:
    """Files in a folder by their UIDs; what was not decoded on the way is, to the byte, the dataset that is stored."""
    stored = {row["SOPInstanceUID"]: full.files.path(row["key"]) for row in full.rows(image)}
    taken = {}
    for file in folder.iterdir():
        dataset = dcmread(file)
        original = dcmread(stored[dataset.SOPInstanceUID])
        if dataset.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID:
            assert file.read_bytes()[-1000:] == stored[dataset.SOPInstanceUID].read_bytes()[-1000:]
            assert dataset == original
        taken[str(dataset.SOPInstanceUID)] = dataset
    return taken


def counts(said: str) -> list[int]:
    """Completed, failed and with a warning, as getscu and movescu tell of the last answer."""
    return [int(re.findall(rf"{what} Suboperations +: (\d+)", said)[-1]) for what in ("Completed", "Failed", "Warning")]


def study_of(uid: str) -> list[str]:
    return keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={uid}")


def test_getscu_gets_what_is_stored(full: Receiver, study_uids: list[str], tmp_path: Path) -> None:
    said = run("getscu", full, "-S", "+B", "-od", str(tmp_path), *study_of(STUDY))
    assert counts(said) == [24, 0, 0]
    assert sorted(brought(tmp_path, full)) == study_uids


def test_getscu_gets_decoded_what_it_takes_no_other_way(full: Receiver, tmp_path: Path) -> None:
    said = run("getscu", full, "-P", "+B", "-od", str(tmp_path), *keys("QueryRetrieveLevel=PATIENT", "PatientID=P-2"))
    assert counts(said) == [3, 0, 0]
    taken = brought(tmp_path, full)
    assert {each.file_meta.TransferSyntaxUID for each in taken.values()} == {ExplicitVRLittleEndian}
    stored = {row["SOPInstanceUID"]: row for row in full.rows(image)}
    assert stored[f"{OTHER}.1.3"]["TransferSyntaxUID"] == JPEGLosslessSV1
    for uid, dataset in taken.items():
        assert (dataset.pixel_array == make_slice(int(uid.split(".")[-1]) - 1).pixel_array).all()
        assert dataset.PatientName == "Müller^Änne"


@contextmanager
def storescp(folder: Path, port: int, *options: str) -> Iterator[None]:
    folder.mkdir()
    process = subprocess.Popen(
        ["storescp", "-aet", "SINK", "-od", str(folder), "+B", *options, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    try:
        wait_for(lambda: listening(port), what="storescp")
        yield
    finally:
        process.terminate()
        process.wait()


def test_movescu_has_a_study_sent_to_storescp(full: Receiver, study_uids: list[str], port: int, tmp_path: Path) -> None:
    with storescp(tmp_path / "all", port, "+xa"):
        assert counts(run("movescu", full, "-S", "-aem", "SINK", *study_of(STUDY))) == [24, 0, 0]
        assert counts(run("movescu", full, "-S", "-aem", "SINK", *study_of(OTHER))) == [3, 0, 0]
    taken = brought(tmp_path / "all", full)
    assert sorted(uid for uid in taken if uid.startswith(f"{STUDY}.")) == study_uids
    assert taken[f"{OTHER}.1.3"].file_meta.TransferSyntaxUID == JPEGLosslessSV1
    with storescp(tmp_path / "plain", port):  # takes what is not compressed
        assert counts(run("movescu", full, "-S", "-aem", "SINK", *study_of(OTHER))) == [3, 0, 0]
    syntaxes = {each.file_meta.TransferSyntaxUID for each in brought(tmp_path / "plain", full).values()}
    assert syntaxes == {ExplicitVRLittleEndian}


def test_a_move_goes_nowhere_but_to_known_destinations(full: Receiver) -> None:
    said = run("movescu", full, "-S", "-aem", "ELSEWHERE", *study_of(STUDY))
    assert "MoveDestinationUnknown" in said.replace(" ", "")
    assert counts(run("movescu", full, "-S", "-aem", "AWAY", *study_of(STUDY))) == [0, 24, 0]


def test_every_query_and_retrieval_is_in_the_audit_trail(full: Receiver) -> None:
    def entries() -> list[sa.RowMapping]:
        return [row for row in full.rows(audit) if row["action"] in ("query", "retrieve")]

    time.sleep(0.6)  # what was noted by others is written every half second
    before = len(entries())
    run("findscu", full, "-S", *study_of(STUDY))
    with peer(full) as assoc:
        assert get(assoc, study_query())[-1].Status == 0x0000
        assert get(assoc, study_query(QueryRetrieveLevel="SERIES"))[-1].Status == 0xA900
        assert move(assoc, "ELSEWHERE")[-1].Status == 0xA801
    wait_for(lambda: len(entries()) >= before + 4, what="audit")
    new = entries()[before:]
    assert {(row["actor"], row["address"]) for row in new} == {("CT1", "127.0.0.1")}
    told = sorted((row["action"], row["outcome"], row["StudyInstanceUID"], row["detail"]) for row in new)
    assert told == [
        ("query", "success", STUDY, "1 study matches."),
        ("retrieve", "refused", "", "The move's destination is not in the settings."),
        ("retrieve", "refused", "", "identifier-wrong"),
        ("retrieve", "success", STUDY, "C-GET of 24 objects for itself."),
    ]


@pytest.mark.parametrize("title", ["NOSY", "WIDE"])
def test_who_may_only_send_is_told_nothing(full: Receiver, study: Path, title: str) -> None:
    assert full.send(study, aet=title) == 0
    with peer(full, title=title) as assoc:
        assert [status.Status for status, _ in assoc.send_c_find(study_query(), FIND)] == [0x0124]
        assert [answer.Status for answer in move(assoc, "SINK")] == [0x0124]
        assert [answer.Status for answer in get(assoc, study_query())] == [0x0124]
    refused = [("query", "not-authorized"), ("retrieve", "not-authorized"), ("retrieve", "not-authorized")]

    def told() -> list[tuple[str, str]]:
        rows = [row for row in full.rows(audit) if (row["actor"], row["outcome"]) == (title, "refused")]
        return sorted((row["action"], row["detail"]) for row in rows)

    wait_for(lambda: told() == refused, what="the audit entries")


def study_query(**elements: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", STUDY
    for keyword, value in elements.items():
        setattr(query, keyword, value)
    return query


@contextmanager
def peer(
    receiver: Receiver,
    *handlers: evt.EventHandlerType,
    most_pdu_bytes: int = 16382,
    title: str = "CT1",
    syntax: str = ExplicitVRLittleEndian,
) -> Iterator[Association]:
    """One that takes CT images by C-GET as stored; without a handler of its own every one."""
    ae = AE(title)
    ae.maximum_pdu_size = most_pdu_bytes
    for model in (FIND, GET, MOVE):
        ae.add_requested_context(model)
    ae.add_requested_context(CTImageStorage, syntax)
    assoc = ae.associate(
        "127.0.0.1",
        receiver.port,
        ae_title="PNEUMOSCOPE",
        ext_neg=[build_role(CTImageStorage, scu_role=True, scp_role=True)],
        evt_handlers=list(handlers) or [(evt.EVT_C_STORE, lambda _event: 0x0000)],
    )
    assert assoc.is_established
    try:
        yield assoc
    finally:
        assoc.release()


def get(assoc: Association, query: Dataset) -> list[Dataset]:
    return [status for status, _ in assoc.send_c_get(query, GET)]


def move(assoc: Association, title: str) -> list[Dataset]:
    return [status for status, _ in assoc.send_c_move(study_query(), title, MOVE)]


def numbers(status: Dataset) -> tuple[int, int, int, int]:
    """Remaining, completed, failed, with a warning."""
    names = ("Remaining", "Completed", "Failed", "Warning")
    return tuple(status.get(f"NumberOf{name}Suboperations", -1) for name in names)


def test_each_object_that_a_peer_refuses_is_counted_and_named(full: Receiver, study_uids: list[str]) -> None:
    refused, warned = study_uids[3], study_uids[5]

    def store(event: evt.Event) -> int:
        return {refused: 0xA700, warned: 0xB000}.get(event.request.AffectedSOPInstanceUID, 0x0000)

    with peer(full, (evt.EVT_C_STORE, store), most_pdu_bytes=0) as assoc:
        answers = list(assoc.send_c_get(study_query(), GET))
        status, identifier = answers[-1]
        assert (status.Status, numbers(status)) == (0xB000, (-1, 22, 1, 1))
        assert identifier.FailedSOPInstanceUIDList == refused
        assert [numbers(each)[0] for each, _ in answers[:-1]] == list(range(23, 0, -1))
        assert {each.Status for each, _ in answers[:-1]} == {0xFF00}

    with peer(full, (evt.EVT_C_STORE, lambda _event: 0xA700)) as assoc:
        status = get(assoc, study_query())[-1]
        assert (status.Status, numbers(status)) == (0xA702, (-1, 0, 24, 0))


def test_a_cancel_is_honoured(full: Receiver) -> None:
    taken = []

    def store(event: evt.Event) -> int:
        taken.append(event.request.AffectedSOPInstanceUID)
        if len(taken) == 3:
            contexts = {cx.abstract_syntax: cx.context_id for cx in event.assoc.accepted_contexts}
            event.assoc.send_c_cancel(7, contexts[GET])
        return 0x0000

    with peer(full, (evt.EVT_C_STORE, store)) as assoc:
        status = [status for status, _ in assoc.send_c_get(study_query(), GET, msg_id=7)][-1]
        remaining, completed, failed, _ = numbers(status)
        assert status.Status == 0xFE00
        assert (remaining + completed, failed, completed) == (24, 0, len(taken))
        assert remaining > 0

        query = study_query(QueryRetrieveLevel="IMAGE", SeriesInstanceUID=f"{STUDY}.1", SOPInstanceUID="")
        answers = []
        for status, _ in assoc.send_c_find(query, FIND, msg_id=9):
            answers.append(status.Status)
            if len(answers) == 1:
                assoc.send_c_cancel(8, query_model=FIND)  # of another message: nothing happens
        assert answers == [0xFF00] * 24 + [0x0000]


def test_a_cancel_that_comes_with_its_query_is_honoured(full: Receiver) -> None:
    query = study_query(QueryRetrieveLevel="IMAGE", SeriesInstanceUID=f"{STUDY}.1", SOPInstanceUID="")
    with peer(full) as assoc:
        assoc.send_c_cancel(9, query_model=FIND)
        assert [status.Status for status, _ in assoc.send_c_find(query, FIND, msg_id=9)] == [0xFE00]
        assert [status.Status for status, _ in assoc.send_c_find(query, FIND, msg_id=9)] == [0xFF00] * 24 + [0x0000]


@pytest.mark.parametrize(
    "elements",
    [
        {"QueryRetrieveLevel": ""},
        {"QueryRetrieveLevel": "PATIENT"},  # not of this model
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": ""},
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "*"},
        {"StudyDate": "20x"},
        {"PatientName": "a\0b"},
        {"PatientID": "x" * 5000},
    ],
)
def test_identifiers_that_break_the_rules_are_refused(full: Receiver, elements: dict[str, str]) -> None:
    with peer(full) as assoc, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that no decent peer sends
        assert [status.Status for status, _ in assoc.send_c_find(study_query(**elements), FIND)] == [0xA900]


def test_keys_that_are_not_supported_are_told(full: Receiver) -> None:
    with peer(full) as assoc:
        answers = list(assoc.send_c_find(study_query(PatientName="", InstitutionName="X"), FIND))
    assert [status.Status for status, _ in answers] == [0xFF01, 0x0000]
    assert answers[0][1].PatientName == "Secret^Name"
    assert "InstitutionName" not in answers[0][1]


def test_a_peer_of_the_default_syntax_alone_is_sent_that(full: Receiver) -> None:
    images = []

    def store(event: evt.Event) -> int:
        images.append(event.dataset)
        return 0x0000

    with peer(full, (evt.EVT_C_STORE, store), syntax=ImplicitVRLittleEndian) as assoc:
        query = study_query(QueryRetrieveLevel="IMAGE", SeriesInstanceUID=f"{STUDY}.1")
        query.SOPInstanceUID = [f"{STUDY}.1.2", f"{STUDY}.1.5"]
        assert numbers(get(assoc, query)[-1]) == (-1, 2, 0, 0)
    stored = {row["SOPInstanceUID"]: full.files.path(row["key"]) for row in full.rows(image)}
    for each in images:
        assert each == dcmread(stored[each.SOPInstanceUID])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the peer's own
def test_a_peer_that_leaves_or_interrupts_costs_its_own_association(full: Receiver) -> None:
    left = []

    def leave(event: evt.Event) -> int:
        left.append(event.assoc.dul.socket.socket)
        left[0].shutdown(socket.SHUT_RDWR)
        return 0x0000

    with peer(full, (evt.EVT_C_STORE, leave)) as assoc:
        assoc.dimse_timeout = 1  # no answer will come
        get(assoc, study_query())
    left[0].close()  # the library leaves it open
    lost = "were not sent."
    wait_for(lambda: any(detail.endswith(lost) for detail in full.audited("failed")), what="the audit entry")

    def ask_again(event: evt.Event) -> int:
        """A second request while the first is not over."""
        message = next(cx for cx in event.assoc.accepted_contexts if cx.abstract_syntax == FIND)
        request = C_FIND()
        request.MessageID, request.AffectedSOPClassUID, request.Identifier = 99, FIND, BytesIO(b"\0" * 8)
        event.assoc.dimse.send_msg(request, message.context_id)
        return 0x0000

    with peer(full, (evt.EVT_C_STORE, ask_again)) as assoc:
        assoc.dimse_timeout = 1
        get(assoc, study_query())
        wait_for(lambda: assoc.is_aborted, what="the abort")
    assert full.echo()


def test_orthanc_asks_for_a_study_and_has_it_sent(full: Receiver, study_uids: list[str], port: int, tmp_path: Path) -> None:
    with orthanc(
        tmp_path / "pacs", modalities={"PNEUMOSCOPE": ("127.0.0.1", full.port)}, DicomPort=port, DicomAet="SINK"
    ) as pacs:
        query = {"Level": "Study", "Query": {"PatientID": "SECRET-ID", "StudyDescription": ""}}
        asked = httpx.post(f"{pacs.url}/modalities/PNEUMOSCOPE/query", json=query).json()
        answers = httpx.get(f"{pacs.url}{asked['Path']}/answers", params={"expand": "", "simplify": ""}).json()
        assert [answer["StudyInstanceUID"] for answer in answers] == [STUDY]
        done = httpx.post(f"{pacs.url}{asked['Path']}/retrieve", json={"TargetAet": "SINK", "Synchronous": True}, timeout=60)
        assert done.status_code == 200, done.text
        assert pacs.objects(STUDY) == study_uids


def test_movescu_has_orthanc_send_us_a_study(full: Receiver, tmp_path: Path) -> None:
    files = make_series(tmp_path / "new", slices=5, study="3")
    known = {"PNEUMOSCOPE": ("127.0.0.1", full.port)}
    with orthanc(tmp_path / "pacs", modalities=known, DicomAlwaysAllowMove=True) as pacs:
        command = ["storescu", "-aec", "ORTHANC", "127.0.0.1", str(pacs.dicom_port), *map(str, files)]
        subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
        order = ["-aem", "PNEUMOSCOPE", *study_of(f"{ROOT}.3")]
        move_from_there = ["movescu", "-S", "-aec", "ORTHANC", *order, "127.0.0.1", str(pacs.dicom_port)]
        subprocess.run(move_from_there, check=True, capture_output=True, timeout=60)
    wait_for(lambda: sum(uid.startswith(f"{ROOT}.3.") for uid in full.filed()) == 5, what="the study")
