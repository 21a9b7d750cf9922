"""Each process dies by kill -9 at every step of one study's way: it is read, and its results are in the PACS, exactly once."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa
from node_steps import STEPS, Gates, Parts, Site, forward_until, kill, worker_of
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from pneumoscope.store.schema import commitment, delivery, image, parcel, reading, set_aside
from servers import free_port, orthanc, postgres, wait_for

PATIENCE_S = 120
#: A port where nobody listens: the PACS answers our request for commitment into the void, until it is told the right one.
VOID = 1


@pytest.fixture(scope="module")
def scanner_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, scanner_port: int) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("steps")
    with postgres() as database:
        gates = Gates(database)
        with orthanc(folder / "pacs", modalities={"PNEUMOSCOPE": ("127.0.0.1", VOID)}, LuaScripts=[str(gates.lua)]) as pacs:
            settings = (
                f'[[dicom.senders]]\nae_title = "CT1"\nport = {scanner_port}\n[[dicom.senders]]\nae_title = "*"\n'
                '[[destinations]]\nkind = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
                f"port = {pacs.dicom_port}\n[arrival]\nquiet_s = 6\n"
            )
            parts = Parts(folder / "node", database, settings)
            parts.start()
            gates.build()
            parts.man()
            yield parts, gates, pacs
            gates.open_all()
            parts.stop()
            gates.engine.dispose()


class Walk:
    """One study on its way, and the process that dies at every step of it."""

    def __init__(self, site: Site, victim: str, folder: Path, uid: str) -> None:
        self.parts, self.gates, self.pacs = site
        self.victim, self.folder, self.uid = victim, folder, uid
        self.files = [dcmread(path) for path in sorted(folder.iterdir())]
        self.gates.open_all()
        self.gates.close(*STEPS)

    def strike(self, *, port: int | None = None, pid: int | None = None) -> None:
        """Kill the victim, that which is at it where there are two, and start it again."""
        if self.victim == "database":
            self.parts.database.kill()
            self.parts.database.start()
        elif self.victim == "pacs":
            self.pacs.kill()
            self.pacs.start()
        else:
            candidates = wait_for(lambda: self.parts.of(self.victim), what=self.victim)
            at_it = self.parts.at_port(self.victim, port) or next((c for c in candidates if c.pid == pid), candidates[0])
            kill(at_it)
        self.parts.man()

    def at(self, step: str) -> None:
        """Wait for somebody to come to a step that is a statement, strike, and let go on."""

        def there() -> int | bool | None:
            # on a busy machine a dead receiver's arrival may close by itself before another takes it over
            return self.gates.holder(step) or (step == "closing" and self.gates.holder("taking") is not None)

        self.strike(port=wait_for(there, seconds=PATIENCE_S, what=f"the step of {step}", every_s=0.02))
        self.gates.open(step)

    def receive(self) -> None:
        assoc = associated(self.parts, CTImageStorage)
        half = len(self.files) // 2
        for file in self.files[:half]:
            assert assoc.send_c_store(file).Status == 0
        self.strike(port=assoc.dul.socket.socket.getsockname()[1])
        try:
            for file in self.files[half:]:
                assert assoc.send_c_store(file).Status == 0
            assoc.release()
        except (RuntimeError, AttributeError):  # as a scanner does: again from the start
            wait_for(lambda: send(self.parts, self.folder), seconds=PATIENCE_S, what="the study to be sent")

    def read(self) -> None:
        child = wait_for(self.parts.reading_child, seconds=PATIENCE_S, what="the reading", every_s=0.01)
        child.send_signal(signal.SIGSTOP)
        self.strike(pid=worker_of(child))
        if self.victim == "worker":
            child = wait_for(self.parts.reading_child, seconds=PATIENCE_S, what="another reading", every_s=0.01)
            child.send_signal(signal.SIGSTOP)
        results = self.parts.kept / "objects" / "readings"
        forward_until(child, lambda: list(results.glob(f".{self.row(reading)['id']}-*/*")))
        self.strike(pid=worker_of(child))
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGCONT)

    def send_results(self) -> None:
        held = self.gates.folder / "held in sending"
        wait_for(held.exists, seconds=PATIENCE_S, what="the results on their way", every_s=0.02)
        self.strike(port=self.pacs.dicom_port)
        self.gates.open("sending")

    def confirm(self) -> None:
        wait_for(lambda: self.row(delivery)["state"] == "pending", seconds=PATIENCE_S, what="a pending delivery")
        self.strike()
        wait_for(self.parts.listens, seconds=PATIENCE_S, what="a receiver")
        httpx.put(f"{self.pacs.url}/modalities/PNEUMOSCOPE", json=["PNEUMOSCOPE", "127.0.0.1", self.parts.dicom_port])
        self.pass_time(delivery, "31 min")
        wait_for(lambda: self.row(delivery)["state"] == "confirmed", seconds=PATIENCE_S, what="a confirmed delivery")

    def vouch(self, scanner_port: int) -> None:
        """The scanner asks whether we have its images."""
        with listener(scanner_port) as heard:
            ask(self.parts, self.files)
            self.at("answering")
            self.at("noting the answer")
            self.pass_time(commitment, "1 min")
            wait_for(lambda: self.last(commitment)["state"] == "answered", seconds=PATIENCE_S, what="the answer to be noted")
            assert heard
            assert {len(report.get("ReferencedSOPSequence", [])) for report in heard} == {len(self.files)}

    def pass_time(self, table: sa.Table, interval: str) -> None:
        """What waits for a moment has waited for it."""
        with self.gates.engine.connect() as db:
            db.execute(sa.text(f"UPDATE {table.name} SET due_at = due_at - interval '{interval}'"))

    def rows(self, table: sa.Table) -> list[sa.RowMapping]:
        with self.gates.engine.connect() as db:
            own = sa.select(reading.c.id).where(reading.c.StudyInstanceUID == self.uid)
            mine = table.c.reading_id.in_(own) if table in (delivery, parcel) else table.c.StudyInstanceUID == self.uid
            return list(db.execute(sa.select(table).where(mine)).mappings())

    def row(self, table: sa.Table) -> sa.RowMapping:
        (only,) = self.rows(table)
        return only

    def last(self, table: sa.Table) -> sa.RowMapping:
        with self.gates.engine.connect() as db:
            return db.execute(sa.select(table).order_by(table.c.received_at.desc()).limit(1)).mappings().one()


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["worker", "receiver", "database", "pacs"])
def test_a_process_that_dies_at_every_step_loses_nothing_and_doubles_nothing(
    site: Site, own_study: tuple[Path, str], scanner_port: int, victim: str
) -> None:
    walk = Walk(site, victim, *own_study)
    walk.receive()
    for step in ("filing", "closing", "taking", "queueing", "assembling", "beginning"):
        walk.at(step)
    walk.read()
    for step in ("noting the reading", "settling", "committing", "ending", "claiming"):
        walk.at(step)
    walk.send_results()
    walk.at("noting the delivery")
    walk.confirm()
    walk.vouch(scanner_port)

    assert walk.row(reading)["state"] == "read"
    assert walk.row(delivery)["state"] == "confirmed"
    results = sorted(row["SOPInstanceUID"] for row in walk.rows(parcel) if row["SOPInstanceUID"])
    assert walk.pacs.objects(walk.uid) == results != []
    sent = {str(file.SOPInstanceUID) for file in walk.files}
    assert {row["SOPInstanceUID"] for row in walk.rows(image)} == sent | set(results)
    assert walk.rows(set_aside) == []


def associated(parts: Parts, *classes: str) -> Association:
    ae = AE("CT1")
    for asked in classes:
        ae.add_requested_context(asked, ExplicitVRLittleEndian)

    def attempt() -> Association | None:
        if not parts.listens():  # of an attempt in vain pynetdicom leaves a socket open
            return None
        assoc = ae.associate("127.0.0.1", parts.dicom_port, ae_title="PNEUMOSCOPE")
        return assoc if assoc.is_established else None

    return wait_for(attempt, seconds=PATIENCE_S, what="an association")


def send(parts: Parts, folder: Path) -> bool:
    command = ["storescu", "-aet", "CT1", "-aec", "PNEUMOSCOPE", "+sd", "-R", "127.0.0.1", str(parts.dicom_port), str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def ask(parts: Parts, files: list[Dataset]) -> None:
    wanted = Dataset()
    wanted.TransactionUID = generate_uid()
    wanted.ReferencedSOPSequence = []
    for file in files:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = file.SOPClassUID, file.SOPInstanceUID
        wanted.ReferencedSOPSequence.append(item)
    assoc = associated(parts, StorageCommitmentPushModel)
    status, _ = assoc.send_n_action(wanted, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    assoc.release()
    assert status.Status == 0


@contextmanager
def listener(port: int) -> Iterator[list[Dataset]]:
    """The scanner hears answers to its requests for commitment."""
    heard: list[Dataset] = []

    def hear(event: evt.Event) -> tuple[int, None]:
        heard.append(event.event_information)
        return 0x0000, None

    ae = AE("CT1")
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)])
    try:
        yield heard
    finally:
        server.shutdown()
