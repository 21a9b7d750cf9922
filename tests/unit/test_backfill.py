"""Old studies come from a folder whatever else lies in it, and however much of it there is."""

import os
from pathlib import Path

import pytest

import databases
from dicom_maker import make_series
from pneumoscope.config import Settings
from pneumoscope.filing.opener import opener
from pneumoscope.node import backfill
from pneumoscope.store import FolderStore, Store


def test_what_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    make_series(tmp_path / "old" / "a", slices=3)
    make_series(tmp_path / "old" / "c", slices=2, series="2")
    (tmp_path / "old" / "b").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "old" / "a" / "0000.pipe")
    store = Store(database=databases.sqlite(tmp_path / "node.sqlite"), files=FolderStore(tmp_path / "objects"))
    settings = Settings(node={"folder": tmp_path / "node"})
    assert backfill.backfill_folder(tmp_path / "old", store, settings, progress=lambda _done, _of: None) == (5, 2)
    store.database.close()
    opener.close()


def test_folders_stay_whole_and_no_number_of_them_is_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "BATCH_FILES", 2)
    files = [Path(f"/old/{study:04d}/{k}") for study in range(3000) for k in range(3)]
    batches = list(backfill._batches(files))
    assert len(batches) == 3000
    assert [file for batch in batches for file in batch] == files
    assert all(len({file.parent for file in batch}) == 1 for batch in batches)
