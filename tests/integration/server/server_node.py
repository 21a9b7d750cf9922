"""A real server process over a store that holds a phantom study, compressed objects, and what became of readings."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
from pydicom.dataset import Dataset

import databases
from pneumoscope.config import Settings
from pneumoscope.filing.objects import file_waiting
from pneumoscope.filing.spool import Spool
from pneumoscope.phantom import PhantomSpec, dicom_parcels, render
from pneumoscope.results.report import build_report
from pneumoscope.store import Store, arrivals, outbox, readings, studies
from pneumoscope.store.files import result_key
from pneumoscope.store.readings import StoredParcel, Summary
from pneumoscope.store.schema import DeliveryState, ReadingState
from servers import free_port, wait_for
from support import tiny_reading

SLICES = 24
NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@dataclass
class Node:
    settings: Settings
    store: Store
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    datasets: dict[str, Dataset]
    reading_id: str = ""
    delivery_id: str = ""

    @property
    def root(self) -> str:
        return f"{self.url}/dicom-web"

    def audit(self) -> list[dict]:
        from pneumoscope.store import audit

        with self.store.database.look() as db:
            return [dict(row) for row in audit.entries(db, limit=100_000)]


def encode(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@cache
def _phantom() -> list[bytes]:
    spec = PhantomSpec(slices=SLICES, size_px=128, pixel_spacing_mm=2.8, slice_spacing_mm=12.0, slice_thickness_mm=2.0)
    return [parcel.content for parcel in dicom_parcels(render(spec), PatientName=NAME, PatientID="P-1_x")]


def phantom_datasets() -> list[Dataset]:
    return [pydicom.dcmread(BytesIO(content)) for content in _phantom()]


def file_objects(store: Store, datasets: list[Dataset], *, settings: Settings) -> None:
    spool = Spool(settings.spool)
    with store.database.begin() as db:
        arrival_id = arrivals.open_arrival(db, process_id="receiver-x", channel="dicom")
    spool.open(arrival_id)
    for dataset in datasets:
        spool.write(arrival_id, encode(dataset))
    outcomes = file_waiting(store, spool, arrival_id, settings=settings)
    assert {outcome.status for outcome in outcomes} == {"filed"}, outcomes
    spool.remove(arrival_id)
    with store.database.begin() as db:
        arrivals.close_arrival(db, arrival_id)


def make_store(folder: Path) -> Store:
    settings = Settings(node={"folder": folder})
    settings.spool.mkdir(parents=True)
    return databases.store(folder)


def take_reading(store: Store, study: str) -> str:
    with store.database.begin() as db:
        row = studies.get(db, study)
        assert row
        reading_id = studies.take(db, study, revision=row["revision"])
        assert reading_id
        readings.start(db, reading_id, process_id="worker-x")
    return reading_id


def finish_reading(store: Store, study: str) -> tuple[str, str]:
    """Returns ids of the reading and of its delivery that stopped."""
    reading_id = take_reading(store, study)
    report = build_report(tiny_reading(PatientName=NAME))
    parcels = []
    for name, media_type, content in (
        (report.name, report.media_type, report.content),
        ("result.json", "application/json", b"{}"),
    ):
        store.files.put(result_key(reading_id, name), content)
        parcels.append(
            StoredParcel(name=name, media_type=media_type, key=result_key(reading_id, name), size_bytes=len(content))
        )
    summary = Summary(
        probability=0.83,
        category="sign of pneumonia of the COVID-19 pattern",
        headline="Sign of pneumonia of the COVID-19 pattern: 12 % of the lungs involved.",
        involved_share=0.12,
        model="lung-lesion 0.1.0",
        device_uid="2.25.9",
    )
    with store.database.begin() as db:
        readings.finish(db, reading_id, summary=summary, parcels=parcels)
        outbox.post(db, reading_id, ["pacs", "fhir"])
        rows = {row["destination"]: row["id"] for row in outbox.claim(db, process_id="worker-x", busy=())}
        outbox.stop(db, rows["pacs"], code="refused-by-peer", message="The destination refused the objects.")
        outbox.settle(db, rows["fhir"], state=DeliveryState.DELIVERED)
    return reading_id, rows["pacs"]


def refuse_reading(store: Store, study: str) -> None:
    reading_id = take_reading(store, study)
    with store.database.begin() as db:
        readings.close(
            db, reading_id, state=ReadingState.REFUSED, code="too-few-slices", message="1 slice; at least 20 are needed."
        )
        arrivals.put_aside(
            db,
            aside_id="a1",
            key="aside/a1",
            sha256="0" * 64,
            size_bytes=1234,
            code="changed",
            message="Another object came under this UID.",
            StudyInstanceUID=study,
            SOPInstanceUID="1.2.3.4",
        )


def start(folder: Path, *, environment: dict[str, str] | None = None) -> tuple[subprocess.Popen[bytes], str, Path]:
    port, log = free_port(), folder / "server.log"
    variables = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PNEUMOSCOPE_")},
        "PNEUMOSCOPE_NODE__FOLDER": str(folder),
        "PNEUMOSCOPE_HTTP__PORT": str(port),
        "PNEUMOSCOPE_LOGS__FORM": "json",
        "PNEUMOSCOPE_HTTP__TRUST_THIS_MACHINE": "true",
        **(environment or {}),
    }
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-W", "error", "-m", "pneumoscope.server"], env=variables, stderr=file)
    scheme = "https" if "PNEUMOSCOPE_HTTP__CERTIFICATE" in variables else "http"
    url = f"{scheme}://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{url}/health", verify=False).status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, seconds=240, what="the server")
    return process, url, log


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=60)
