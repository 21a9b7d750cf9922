"""Results into a folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from pneumoscope.delivery import Shipment
from pneumoscope.delivery.folder import Folder
from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.records import Parcel


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_all_files_once(shipment: Shipment, tmp_path: Path) -> None:
    folder = Folder(name="share", path=tmp_path)
    assert folder.deliver(shipment).sent == len(shipment.parcels)
    target = tmp_path / shipment.reading_id
    assert {file.name: file.read_bytes() for file in target.iterdir()} == {p.name: p.content for p in shipment.parcels}
    before = {file.name: file.stat().st_ino for file in target.iterdir()}
    assert folder.deliver(shipment).detail == "The same files lie there already."
    assert {file.name: file.stat().st_ino for file in target.iterdir()} == before
    assert names(tmp_path) == [shipment.reading_id]


def test_what_lies_there_damaged_is_put_right(shipment: Shipment, tmp_path: Path) -> None:
    folder = Folder(name="share", path=tmp_path)
    folder.deliver(shipment)
    (tmp_path / shipment.reading_id / "reading.json").write_bytes(b"half a f")
    folder.deliver(shipment)
    assert (tmp_path / shipment.reading_id / "reading.json").read_bytes() == shipment.named("reading.json").content
    assert names(tmp_path) == [shipment.reading_id]


def test_what_a_cut_off_delivery_left_is_cleared(shipment: Shipment, tmp_path: Path) -> None:
    (tmp_path / f".{shipment.reading_id}-abc").mkdir()
    (tmp_path / ".of-someone-else").mkdir()
    Folder(name="share", path=tmp_path).deliver(shipment)
    assert sorted(names(tmp_path)) == [".of-someone-else", shipment.reading_id]


def test_a_failure_leaves_nothing(shipment: Shipment, tmp_path: Path) -> None:
    broken = replace(shipment, parcels=(*shipment.parcels, Parcel(name="x" * 300, media_type="text/plain", content=b"")))
    with pytest.raises(OperatorNeeded):
        Folder(name="share", path=tmp_path).deliver(broken)
    assert names(tmp_path) == []


def test_a_share_that_is_not_mounted_is_not_made(shipment: Shipment, tmp_path: Path) -> None:
    folder = Folder(name="share", path=tmp_path / "mount" / "share")
    for work in (lambda: folder.deliver(shipment), folder.probe):
        with pytest.raises(RetryLater) as fault:
            work()
        assert fault.value.code == "folder-missing"
    assert names(tmp_path) == []


def test_probe(tmp_path: Path) -> None:
    assert Folder(name="share", path=tmp_path).probe() == "The folder can be written."
    assert names(tmp_path) == []
