"""What touches the machine: results on disk, children that die."""

import os
import signal
import sys
from pathlib import Path

import pytest

from pneumoscope.errors import OperatorNeeded
from pneumoscope.output import check_target, write_all
from pneumoscope.parallel import Crashed, bound_memory, fork_map
from pneumoscope.records import Parcel
from pneumoscope.store import FolderStore


def parcel(name: str, text: str = "x") -> Parcel:
    return Parcel(name=name, media_type="text/plain", content=text.encode())


def test_all_results_appear_together_and_replace_an_earlier_reading(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    write_all([parcel("reading.json", "old"), parcel("gone")], out)
    check_target(out)
    write_all([parcel("reading.json", "new")], out)
    assert {path.name: path.read_text() for path in out.iterdir()} == {"reading.json": "new"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Folders that were made durable, each with the names that it had then."""
    found, really = [], os.fsync

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if path.is_dir():
            found.append((str(path), sorted(one.name for one in path.iterdir())))
        really(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_a_power_cut_takes_no_name_of_a_result(tmp_path: Path, synced: list[tuple[str, list[str]]]) -> None:
    write_all([parcel("reading.json"), parcel("report.html")], tmp_path / "out")
    (inner, names), outer = synced
    assert names == ["reading.json", "report.html"] and Path(inner).parent == tmp_path
    assert outer == (str(tmp_path), ["out"])


def test_a_power_cut_takes_no_name_from_the_store(tmp_path: Path, synced: list[tuple[str, list[str]]]) -> None:
    FolderStore(tmp_path).put("readings/a/sr.dcm", b"x")
    assert synced == [
        (str(tmp_path / "readings" / "a"), ["sr.dcm"]),
        (str(tmp_path / "readings"), ["a"]),
        (str(tmp_path), ["readings"]),
    ]


def test_a_stop_in_the_middle_leaves_the_earlier_reading(tmp_path: Path) -> None:
    def parcels():
        yield parcel("reading.json", "half")
        raise KeyboardInterrupt

    write_all([parcel("reading.json", "old")], tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        write_all(parcels(), tmp_path / "out")
    assert (tmp_path / "out" / "reading.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_peoples_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OperatorNeeded) as caught:
        check_target(tmp_path)
    assert caught.value.code == "output-not-empty"
    with pytest.raises(OperatorNeeded) as caught:
        check_target(tmp_path / "mine.txt")
    assert caught.value.code == "output-not-a-folder"


@pytest.mark.parametrize("chunk", [1, 4])
def test_children_answer_for_every_item(chunk: int) -> None:
    assert dict(fork_map(lambda n: n * n, list(range(25)), chunk=chunk)) == {n: n * n for n in range(25)}


def test_a_child_that_dies_costs_one_item() -> None:
    def fragile(n: int) -> int:
        if n in (6, 7):
            os.kill(os.getpid(), signal.SIGSEGV)
        return n

    results = dict(fork_map(fragile, list(range(20))))
    assert {n for n, result in results.items() if isinstance(result, Crashed)} == {6, 7}
    assert all(results[n] == n for n in range(20) if n not in (6, 7))


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
def test_a_child_takes_no_more_memory_than_it_may() -> None:
    def take(size_bytes: int) -> bool:
        bound_memory(2**28)
        try:
            return len(bytearray(size_bytes)) == size_bytes
        except MemoryError:
            return False

    assert dict(fork_map(take, [2**20, 2**30, 2**27, 2**27])) == {0: True, 1: False, 2: True, 3: True}


def test_a_bug_in_a_child_is_raised_here() -> None:
    def broken(n: int) -> int:
        raise ZeroDivisionError(n)

    with pytest.raises(ZeroDivisionError):
        list(fork_map(broken, [1, 2, 3]))
