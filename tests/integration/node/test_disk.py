"""A disk that fills up: senders are told before it is full, nothing is lost, and the node goes on once there is room."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from pydicom import dcmread
from pynetdicom import AE
from test_faults import all_is_well
from test_path import read

from pneumoscope.config import load_settings
from pneumoscope.store import FolderStore, Store
from pneumoscope.worker.clock import Clock
from pneumoscope.worker.retention import Retention
from servers import Node, Orthanc, renamed, wait_for

Site = Callable[..., tuple[Node, Orthanc]]
DISK_MB = 96


class Disk:
    """A small one, and a file on it that takes room away."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._ballast = folder, folder / "ballast"

    @property
    def free_mb(self) -> float:
        return psutil.disk_usage(str(self.folder)).free / 2**20

    def leave_mb(self, room: float) -> None:
        """Let so much be free, as far as the ballast goes."""
        self._ballast.touch()
        size = self._ballast.stat().st_size + int((self.free_mb - room) * 2**20)
        subprocess.run(["fallocate", "-l", str(size), str(self._ballast)], check=True)

    def fill(self) -> None:
        """To the brim."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def clear(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "node" / "kept"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def statuses(running: Node, folder: Path) -> list[int]:
    """What each image of a study is answered."""
    ae = AE("CT1")
    files = [dcmread(path) for path in sorted(folder.iterdir())]
    ae.add_requested_context(files[0].SOPClassUID, files[0].file_meta.TransferSyntaxUID)
    assoc = ae.associate("127.0.0.1", running.dicom_port, ae_title="PNEUMOSCOPE")
    assert assoc.is_established
    found = [int(assoc.send_c_store(file).Status) for file in files]
    assoc.release()
    return found


@pytest.mark.soak
def test_a_disk_that_fills_up_costs_no_study(disk: Disk, site: Site, study: Path, tmp_path: Path) -> None:
    watermark = 0.4
    running, pacs = site(f"\n[disk]\nwatermark = {watermark}\n")
    uids = [renamed(study, tmp_path / name) for name in ("refused", "reading")]

    disk.leave_mb(watermark * DISK_MB - 1)
    wait_for(lambda: statuses(running, tmp_path / "refused") == [0xA700] * 40, what="no more images to be taken")
    assert disk.free_mb > 0.3 * DISK_MB
    assert uids[0] not in [each["StudyInstanceUID"] for each in running.studies()]
    disk.clear()
    wait_for(lambda: statuses(running, tmp_path / "refused") == [0] * 40, what="every image to be taken")
    all_is_well(running, pacs, uids[0])

    # now it is filled to the brim by somebody else, in mid-reading
    running.send(tmp_path / "reading")
    wait_for(running.worker_at_work, seconds=180, what="the reading", every_s=0.02)
    disk.fill()
    wait_for(lambda: not running.worker_at_work(), seconds=120, what="the reading to fail for want of room")
    disk.clear()
    all_is_well(running, pacs, uids[1])

    # what is delivered goes where the disk is fuller than it should be
    settings = load_settings(running.config)
    full = settings.model_copy(update={"disk": settings.disk.model_copy(update={"max_share": 0.01})})
    store = Store.open(database_url=settings.database_url, files=FolderStore(settings.objects))
    before_mb = disk.free_mb
    Retention(SimpleNamespace(settings=full, store=store), Clock(store.database)).look()
    store.database.close()
    assert disk.free_mb > before_mb + 5
    assert running.studies() == []
    running.send(tmp_path / "refused")
    assert read(running, uids[0])["state"] == "read"
