"""Storage commitment that survives a restart, counts of images by MPPS and IAN, and the watched folder."""

import shutil
import ssl
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from receiver_node import Make, Receiver

from dicom_maker import ROOT, make_series, make_slice, save
from pneumoscope.store import outbox, processes, studies
from pneumoscope.store.schema import commitment, delivery, process, reading
from servers import free_port, wait_for

REFUSED_CLASS = "1.2.840.10008.5.1.4.1.1.2.1"


@contextmanager
def association(receiver: Receiver, *classes: str, title: str = "CT1") -> Iterator[object]:
    ae = AE(title)
    for asked in classes:
        ae.add_requested_context(asked)
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="PNEUMOSCOPE")
    assert assoc.is_established
    try:
        yield assoc
    finally:
        assoc.release()


@contextmanager
def listener(port: int, tls: ssl.SSLContext | None = None) -> Iterator[list[tuple[int, Dataset]]]:
    """A modality that hears answers to its requests for commitment."""
    heard: list[tuple[int, Dataset]] = []

    def hear(event: evt.Event) -> tuple[int, None]:
        heard.append((event.event_type, event.event_information))
        return 0x0000, None

    ae = AE("CT1")
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, hear)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
    try:
        yield heard
    finally:
        server.shutdown()


def ask(receiver: Receiver, *items: tuple[str, str], title: str = "CT1") -> str:
    wanted = Dataset()
    wanted.TransactionUID = generate_uid()
    wanted.ReferencedSOPSequence = []
    for SOPClassUID, SOPInstanceUID in items:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SOPClassUID, SOPInstanceUID
        wanted.ReferencedSOPSequence.append(item)
    with association(receiver, StorageCommitmentPushModel, title=title) as assoc:
        status, _ = assoc.send_n_action(wanted, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        assert status.Status == 0x0000
    return str(wanted.TransactionUID)


def sender(port: int) -> str:
    return f'[[dicom.senders]]\nae_title = "CT1"\nport = {port}\n'


def test_commitment_is_answered_with_a_reason_for_each_object(make: Make, study: Path, study_uids: list[str]) -> None:
    port = free_port()
    receiver = make(sender(port)).start()  # two receivers, of which one answers
    receiver.send(study)
    receiver.at_rest(24)
    lost = receiver.rows(sa.table("image", sa.column("SOPInstanceUID"), sa.column("key")))[0]
    receiver.files.path(lost["key"]).unlink()
    kept = [uid for uid in study_uids if uid != lost["SOPInstanceUID"]]
    with listener(port) as heard:
        whole = ask(receiver, *((CTImageStorage, uid) for uid in kept))
        wait_for(lambda: heard, what="the answer")
        event_type, report = heard.pop()
        assert (event_type, report.TransactionUID, len(report.ReferencedSOPSequence)) == (1, whole, 23)
        assert "FailedSOPSequence" not in report
        wrong = ((CTImageStorage, lost["SOPInstanceUID"]), (CTImageStorage, "1.2.3"), (REFUSED_CLASS, kept[0]))
        ask(receiver, (CTImageStorage, kept[1]), *wrong)
        wait_for(lambda: heard, what="the answer")
        event_type, report = heard.pop()
        assert event_type == 2
        assert [item.FailureReason for item in report.FailedSOPSequence] == [0x0112, 0x0112, 0x0119]
        assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [kept[1]]
        time.sleep(1.5)
        assert not heard  # once each
    assert {row["state"] for row in receiver.rows(commitment)} == {"answered"}


def test_commitment_outlives_the_receiver(make: Make, study: Path, study_uids: list[str]) -> None:
    port = free_port()
    receiver = make(sender(port))
    receiver.send(study)
    receiver.at_rest(24)
    ask(receiver, *((CTImageStorage, uid) for uid in study_uids))
    wait_for(lambda: receiver.rows(commitment)[0]["code"] == "peer-unreachable", what="a failed attempt")
    receiver.kill()
    with listener(port) as heard:
        receiver.start()
        wait_for(lambda: heard, what="the answer")
        assert len(heard[0][1].ReferencedSOPSequence) == 24


def test_commitment_is_answered_by_tls(make: Make, study: Path, study_uids: list[str], certificates: Path) -> None:
    port, own = free_port(), {name: certificates / name for name in ("client.pem", "client.key", "ca.pem")}
    files = f'certificate = "{own["client.pem"]}"\nkey = "{own["client.key"]}"\nauthorities = "{own["ca.pem"]}"\n'
    reached = f'port = {port}\nhost = "localhost"\nencrypted = true\n'
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=own["ca.pem"])
    theirs.verify_mode = ssl.CERT_REQUIRED
    theirs.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    receiver = make(
        f'[[dicom.senders]]\nae_title = "CT1"\n{reached}[dicom.senders.tls]\n{files}'
        f'[[dicom.senders]]\nae_title = "CT2"\n{reached}'  # trusts whom the system trusts
    )
    receiver.send(study)
    receiver.at_rest(24)
    with listener(port, theirs) as heard:
        ask(receiver, (CTImageStorage, study_uids[0]))
        wait_for(lambda: heard, what="the answer")
        assert [item.ReferencedSOPInstanceUID for item in heard[0][1].ReferencedSOPSequence] == [study_uids[0]]
        ask(receiver, (CTImageStorage, study_uids[0]), title="CT2")
        wait_for(lambda: "peer-unreachable" in {row["code"] for row in receiver.rows(commitment)}, what="a failed attempt")
        assert len(heard) == 1


def test_commitment_without_a_port_to_answer_to_is_seen(receiver: Receiver) -> None:
    ask(receiver, (CTImageStorage, "1.2.3"))
    wait_for(lambda: receiver.rows(commitment)[0]["code"] == "no-port-for-answer", what="the reason")
    assert receiver.rows(commitment)[0]["state"] == "waiting"


@pytest.mark.parametrize(("event_type", "state"), [(1, "confirmed"), (2, "waiting")])
def test_an_archives_answer_reaches_the_outbox(receiver: Receiver, study: Path, event_type: int, state: str) -> None:
    receiver.send(study)
    receiver.at_rest(24)
    with receiver.database.begin() as db:
        row = studies.get(db, f"{ROOT}.1")
        assert row
        reading_id = studies.take(db, f"{ROOT}.1", revision=row["revision"])
        assert reading_id
        outbox.post(db, reading_id, ["pacs"])
        (sent,) = outbox.claim(db, process_id="w1", busy=[])
        transaction_uid = db.execute(sa.select(delivery.c.transaction_uid)).scalar_one()
        outbox.settle(db, sent["id"], state="pending")
    assert receiver.rows(reading)
    report = Dataset()
    report.TransactionUID = transaction_uid
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, "1.2.3"
    report.ReferencedSOPSequence = [item]
    ae = AE("PACS")
    ae.add_requested_context(StorageCommitmentPushModel)
    from pynetdicom import build_role

    role = build_role(StorageCommitmentPushModel, scp_role=True)
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="PNEUMOSCOPE", ext_neg=[role])
    assert assoc.is_established
    status, _ = assoc.send_n_event_report(report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    assoc.release()
    assert status.Status == 0x0000
    assert receiver.rows(delivery)[0]["state"] == state


def expected(receiver: Receiver) -> tuple[int | None, str]:
    with receiver.database.look() as db:
        (found,) = studies.arriving(db)
    return found.expected_images, found.expectation_source


def referenced(count: int) -> list[Dataset]:
    items = []
    for k in range(count):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, f"{ROOT}.1.1.{k + 1}"
        items.append(item)
    return items


@pytest.mark.parametrize("restarted", [False, True])
def test_mpps_tells_how_many_images_there_are(receiver: Receiver, study: Path, restarted: bool) -> None:
    receiver.send(study)
    receiver.at_rest(24)
    begun = Dataset()
    scheduled = Dataset()
    scheduled.StudyInstanceUID = f"{ROOT}.1"
    begun.ScheduledStepAttributesSequence = [scheduled]
    begun.PerformedProcedureStepStatus = "IN PROGRESS"
    uid = generate_uid()
    with association(receiver, ModalityPerformedProcedureStep) as assoc:
        status, _ = assoc.send_n_create(begun, ModalityPerformedProcedureStep, uid)
        assert status.Status == 0x0000
    if restarted:
        receiver.kill()
        receiver.start()
    done = Dataset()
    done.PerformedProcedureStepStatus = "COMPLETED"
    series = Dataset()
    series.ReferencedImageSequence = referenced(30)
    done.PerformedSeriesSequence = [series]
    with association(receiver, ModalityPerformedProcedureStep) as assoc:
        status, _ = assoc.send_n_set(done, ModalityPerformedProcedureStep, uid)
        assert status.Status == 0x0000
    assert expected(receiver) == (30, "mpps")


def test_an_instance_availability_notification_tells_it_too(receiver: Receiver, study: Path) -> None:
    receiver.send(study)
    receiver.at_rest(24)
    notice = Dataset()
    notice.StudyInstanceUID = f"{ROOT}.1"
    series = Dataset()
    series.SeriesInstanceUID = f"{ROOT}.1.1"
    series.ReferencedSOPSequence = referenced(24)
    notice.ReferencedSeriesSequence = [series]
    with association(receiver, InstanceAvailabilityNotification) as assoc:
        status, _ = assoc.send_n_create(notice, InstanceAvailabilityNotification, generate_uid())
        assert status.Status == 0x0000
    assert expected(receiver) == (24, "ian")


# -- the watched folder


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watched") / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def watched(share: Make, inbox: Path) -> Iterator[tuple[Receiver, Path]]:
    """Two receivers that look at one empty folder."""
    receiver = share(f'[watched]\nfolder = "{inbox}"\nevery_s = 0.3\n')
    yield receiver if len(receiver.processes) == 2 else receiver.start(), inbox
    for path in inbox.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def arrives(folder: Path, make_it: Callable[[Path], object]) -> None:
    """Appear at once under the final name, as a careful copier does."""
    partial = folder.parent / "partial"
    make_it(partial)
    partial.rename(folder / f"came-{len(list(folder.iterdir()))}")


def test_files_subfolders_and_zips_are_taken(watched: tuple[Receiver, Path], study: Path, tmp_path: Path) -> None:
    receiver, folder = watched
    arrives(folder, lambda to: shutil.copytree(study, to))
    packed = tmp_path / "study.zip"
    make_series(tmp_path / "second", study="2")
    with zipfile.ZipFile(packed, "w") as archive:
        for file in (tmp_path / "second").iterdir():
            archive.write(file, f"cd/{file.name}")
    packed.rename(folder / "study.zip")
    save(make_slice(0, study="3"), tmp_path / "one.dcm").rename(folder / "one.dcm")
    assert len(receiver.at_rest(49)) == 49
    wait_for(lambda: len(names(folder)) == 26, what="files to be moved")
    assert all(name.startswith("taken/") for name in names(folder))
    assert not (folder / "came-0").exists()


def test_what_cannot_be_taken_is_moved_aside_and_nothing_leaves_the_folder(
    watched: tuple[Receiver, Path], tmp_path: Path
) -> None:
    receiver, folder = watched
    (folder / "letter.txt").write_text("no image")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../escaped.dcm", b"x")
    (tmp_path / "evil.zip").rename(folder / "evil.zip")
    secret = tmp_path / "secret.dcm"
    save(make_slice(5), secret)
    (folder / "link.dcm").symlink_to(secret)
    save(make_slice(0), tmp_path / "good.dcm").rename(folder / "good.dcm")
    receiver.at_rest(1)
    moved = ["link.dcm", "refused/evil.zip", "refused/letter.txt", "taken/good.dcm"]
    wait_for(lambda: names(folder) == moved, what="files to be moved")
    assert secret.exists() and not [*receiver.folder.rglob("escaped.dcm"), *folder.parent.rglob("escaped.dcm")]
    assert receiver.aside() == ["not-dicom"]
    (folder / "letter.txt").write_text("another of the same name")
    wait_for(lambda: "refused/2-letter.txt" in names(folder), what="the second letter")
    assert len(names(folder)) == 5


def test_a_file_that_grows_is_waited_for(watched: tuple[Receiver, Path], study: Path) -> None:
    receiver, folder = watched
    content = sorted(study.iterdir())[0].read_bytes()
    with (folder / "growing.dcm").open("wb") as file:
        for start in range(0, len(content), 4000):
            file.write(content[start : start + 4000])
            file.flush()
            time.sleep(0.15)
            assert receiver.filed() == [] and receiver.aside() == []
    receiver.at_rest(1)
    assert receiver.aside() == []


def test_processes_say_that_they_live_and_end_when_taken_for_dead(receiver: Receiver) -> None:
    (row,) = receiver.rows(process)
    wait_for(lambda: receiver.rows(process)[0]["beat"] > row["beat"], what="a beat")
    with receiver.database.begin() as db:
        assert processes.bury(db, row["id"])
    wait_for(lambda: receiver.processes[0].poll() is not None, what="its end")
