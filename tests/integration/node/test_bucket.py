"""Machines that share a database and a bucket, and no folder: a node that receives, and a worker elsewhere that reads."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from test_path import deliveries, read

from servers import Node, Storage, free_port, postgres, storage, wait_for

DICOM = {"Accept": 'multipart/related; type="application/dicom"'}


class Site:
    """A node without workers on one machine, a worker on another, each with a folder of its own."""

    def __init__(self, folder: Path, server: Storage, database_url: str) -> None:
        self.storage, self.elsewhere, self.sent = server, folder / "elsewhere", folder / "sent"
        destination = f'\n[[destinations]]\nkind = "folder"\nname = "out"\npath = "{self.sent}"\n'
        settings = f"{destination}\n[arrival]\nquiet_s = 2\n{server.settings}"
        self.node = Node(folder / "node", settings, database_url=database_url, workers=0)
        self.elsewhere.mkdir()
        self.sent.mkdir()
        (self.elsewhere / "node.toml").write_text(
            f'[node]\nfolder = "{self.elsewhere / "kept"}"\ndatabase_url = "{database_url}"\n'
            f"[http]\nport = {free_port()}\n[dicom]\nport = {free_port()}\n{settings}"
        )
        self.worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.elsewhere / "log").open("ab") as log:
            command = [sys.executable, "-m", "pneumoscope.cli", "work", "--config", str(self.elsewhere / "node.toml")]
            self.worker = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: "A worker started" in (self.elsewhere / "log").read_text(), seconds=180, what="the worker")
        self.node.start()

    def stop(self) -> None:
        self.node.kill_all_if_running()
        if self.worker:
            self.worker.send_signal(signal.SIGTERM)
            self.worker.wait(timeout=60)

    def check(self) -> str:
        """What ``pneumoscope check`` says of the file store."""
        command = [sys.executable, "-m", "pneumoscope.cli", "check", "--config", str(self.node.config)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "COLUMNS": "200"}
        )
        return next(line for line in done.stdout.splitlines() if "file store" in line)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bucket")
    with storage(folder / "storage") as server, postgres() as database:
        made = Site(folder, server, database.url)
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.mark.soak
def test_a_worker_elsewhere_reads_what_it_never_received(shared: Site, own_study: tuple[Path, str]) -> None:
    node, (folder, uid) = shared.node, own_study
    node.send(folder)
    assert read(node, uid, seconds=90)["state"] == "read"
    wait_for(lambda: [d["state"] for d in deliveries(node, uid)] == ["delivered"], seconds=180, what="the delivery")
    assert not (node.folder / "kept" / "objects").exists()
    assert not (shared.elsewhere / "kept" / "objects").exists()
    images = sum(key.startswith(f"studies/{uid}/") for key in shared.storage.held())
    assert images == len(list(folder.iterdir()))

    # the server shows all of it, fetched anew where its machine has no copy
    for copy in (node.folder / "kept" / "cache").rglob("*"):
        if copy.is_file():
            copy.unlink()
    answer = httpx.get(f"{node.url}/dicom-web/studies/{uid}", headers=DICOM, timeout=60)
    assert answer.status_code == 200
    some = dcmread(next(folder.iterdir()))
    assert some.PixelData in answer.content
    (reading,) = node.study(uid)["readings"]
    headers = httpx.get(f"{node.url}/dicom-web/studies/{uid}/metadata", timeout=60).json()
    assert len(headers) == images + sum(bool(parcel["SOPInstanceUID"]) for parcel in reading["results"])
    frame = f"series/{some.SeriesInstanceUID}/instances/{some.SOPInstanceUID}/rendered"
    picture = httpx.get(f"{node.url}/dicom-web/studies/{uid}/{frame}", headers={"Accept": "image/png"}, timeout=60)
    assert picture.status_code == 200
    report = httpx.get(f"{node.url}/readings/{reading['id']}/report.html", timeout=60)
    assert report.status_code == 200
    document = json.loads(httpx.get(f"{node.url}/readings/{reading['id']}/reading.json", timeout=60).text)
    assert document


@pytest.mark.soak
def test_studies_arrive_while_the_bucket_is_away_and_are_read_when_it_is_back(
    shared: Site, own_study: tuple[Path, str]
) -> None:
    node, (folder, uid) = shared.node, own_study
    assert "good" in shared.check()
    shared.storage.kill()
    node.send(folder)  # every image is acknowledged
    assert node.spooled() == len(list(folder.iterdir()))
    answer = httpx.get(f"{node.url}/ready", timeout=30)
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["The file store cannot be written."])
    assert "store-away" in shared.check()
    node.kill("receiver")  # what lies in the spool outlives whoever took it
    wait_for(lambda: node.pids("receiver"), what="a new receiver")
    shared.storage.start()
    assert read(node, uid, seconds=120)["state"] == "read"
    assert sum(key.startswith(f"studies/{uid}/") for key in shared.storage.held()) == len(list(folder.iterdir()))
    assert node.spooled() == 0
    wait_for(lambda: [d["state"] for d in deliveries(node, uid)] == ["delivered"], seconds=180, what="the delivery")


@pytest.mark.soak
def test_a_reading_waits_for_the_bucket_and_is_not_counted_as_an_attempt(shared: Site, own_study: tuple[Path, str]) -> None:
    node, (folder, uid) = shared.node, own_study
    held = set(shared.storage.held())
    node.send(folder)
    wait_for(lambda: len(set(shared.storage.held()) - held) == len(list(folder.iterdir())), what="the images in the bucket")
    wait_for(lambda: node.study(uid).get("readings"), what="the reading to be under way", every_s=0.02)
    shared.storage.kill()

    def waits() -> bool:
        return [study["code"] for study in node.studies() if study["StudyInstanceUID"] == uid] == ["store-away"]

    wait_for(waits, seconds=90, what="the reading to wait for the bucket")
    shared.storage.start()
    found = read(node, uid, seconds=120)
    assert (found["state"], found["code"]) == ("read", "")
    (reading,) = node.study(uid)["readings"]
    assert reading["attempts"] == 1
