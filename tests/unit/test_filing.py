"""What is brought is filed once, whatever it is and whoever dies; a study is complete when nothing more is to be expected."""

import errno
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ComprehensiveSRStorage, DeflatedExplicitVRLittleEndian

import databases
from dicom_maker import ROOT, make_slice, save
from pneumoscope.config import Arrival, Dicom, PriorityRule, Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.filing import opener as opening
from pneumoscope.filing.completeness import Judge
from pneumoscope.filing.examine import examine
from pneumoscope.filing.objects import Status, file_waiting
from pneumoscope.filing.opener import Opener, opener
from pneumoscope.filing.spool import Spool
from pneumoscope.intake.headers import read_header
from pneumoscope.records import Priority
from pneumoscope.store import FolderStore, Store, arrivals, studies
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.schema import image, set_aside, study

ARRIVAL = "a1"


@pytest.fixture(scope="module", autouse=True)
def _child() -> Iterator[None]:
    yield
    opener.close()


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with databases.on(getattr(request, "param", "sqlite"), request, tmp_path) as database:
        yield Store(database=database, files=FolderStore(tmp_path / "objects"))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    found = Spool(tmp_path / "spool")
    found.open(ARRIVAL)
    return found


def put(spool: Spool, tmp_path: Path, *datasets: Dataset) -> None:
    for dataset in datasets:
        spool.write(ARRIVAL, save(dataset, tmp_path / "made.dcm").read_bytes())


def file(store: Store, spool: Spool, **sections: object) -> list[str]:
    outcomes = file_waiting(store, spool, ARRIVAL, settings=Settings(**sections))
    assert not spool.waiting(ARRIVAL)
    return [str(outcome.code or outcome.status) for outcome in outcomes]


def rows(store: Store, table: sa.Table) -> list[sa.RowMapping]:
    with store.database.look() as db:
        return list(db.execute(sa.select(table)).mappings())


def files_of(store: Store) -> list[Path]:
    return [path for path in store.files.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)
def test_what_comes_twice_is_filed_once_and_what_changed_is_kept_apart(store: Store, spool: Spool, tmp_path: Path) -> None:
    put(spool, tmp_path, *(make_slice(k) for k in range(3)))
    assert file(store, spool) == ["filed"] * 3
    put(spool, tmp_path, make_slice(0), make_slice(1, PatientID="OTHER"), make_slice(1, PatientID="OTHER"), make_slice(3))
    assert sorted(file(store, spool)) == ["changed-object", "changed-object", "duplicate", "filed"]
    assert len(rows(store, image)) == 4
    (aside,) = rows(store, set_aside)
    assert aside["SOPInstanceUID"] == make_slice(1).SOPInstanceUID
    assert store.files.path(aside["key"]).is_file()
    assert len(files_of(store)) == 5
    assert rows(store, study)[0]["revision"] == 2


def test_two_of_one_uid_in_one_batch(store: Store, spool: Spool, tmp_path: Path) -> None:
    put(spool, tmp_path, make_slice(0), make_slice(0), make_slice(0, PatientID="OTHER"))
    assert sorted(file(store, spool)) == ["changed-object", "duplicate", "filed"]


@pytest.mark.parametrize("moment", ["before the row", "after the row"])
def test_a_crash_loses_nothing_and_doubles_nothing(store: Store, spool: Spool, tmp_path: Path, moment: str) -> None:
    put(spool, tmp_path, *(make_slice(k) for k in range(3)))
    (first, *_) = spool.waiting(ARRIVAL)
    content = first.read_bytes()
    file(store, spool)
    if moment == "before the row":  # the file is in the store, the row and the unlinking were not done
        with store.database.begin() as db:
            db.execute(image.delete().where(image.c.SOPInstanceUID == make_slice(0).SOPInstanceUID))
    spool.write(ARRIVAL, content)
    assert file(store, spool) == ["filed" if moment == "before the row" else "duplicate"]
    assert len(rows(store, image)) == len(files_of(store)) == 3


def test_a_file_is_on_the_disk_before_it_is_listed_and_before_the_spool_forgets_it(
    store: Store, spool: Spool, tmp_path: Path
) -> None:
    class Failing(FolderStore):
        """A disk that cannot keep what was written, for once; it tells what was asked of it."""

        asked: list[str] = []  # noqa: RUF012

        def sync(self, keys: Iterable[str]) -> None:
            self.asked.extend(keys)
            assert rows(store, image) == [] and len(spool.waiting(ARRIVAL)) == 3
            if len(self.asked) == 3:
                raise OSError(errno.EIO, "")
            super().sync(self.asked)

    store = Store(database=store.database, files=Failing(store.files.root))
    put(spool, tmp_path, *(make_slice(k) for k in range(3)))
    with pytest.raises(OperatorNeeded, match="durable"):
        file(store, spool)
    assert file(store, spool) == ["filed"] * 3
    assert sorted(set(store.files.asked)) == sorted(row["key"] for row in rows(store, image))


def test_a_file_that_was_lost_comes_back_with_its_object(store: Store, spool: Spool, tmp_path: Path) -> None:
    put(spool, tmp_path, make_slice(0))
    file(store, spool)
    (kept,) = files_of(store)
    kept.unlink()
    put(spool, tmp_path, make_slice(0))
    assert file(store, spool) == ["duplicate"]
    assert kept.is_file()


@pytest.mark.parametrize(
    "uid", ["../../../../tmp/x", "1.2/../../x", "1.2.3.", "", "1" * 65, "1.2.\u0663", "a.b", "1..2", "1.2 3", "..", "/etc/x"]
)
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_uids_that_are_none_touch_no_path(store: Store, spool: Spool, tmp_path: Path, keyword: str, uid: str) -> None:
    dataset = make_slice(0)
    before = sorted(path for path in tmp_path.rglob("*") if "objects" not in path.parts)
    path = save(dataset, tmp_path / "made.dcm")
    content = path.read_bytes()
    path.unlink()
    value = str(dataset[keyword].value).encode()
    padded = value + b"\0" * (len(value) % 2)
    new = uid.encode() + b"\0" * (len(uid.encode()) % 2)
    head, _, rest = content.partition(b"DICM")
    tag = {
        "StudyInstanceUID": b"\x20\x00\x0d\x00",
        "SeriesInstanceUID": b"\x20\x00\x0e\x00",
        "SOPInstanceUID": b"\x08\x00\x18\x00",
    }
    old_element = tag[keyword] + b"UI" + len(padded).to_bytes(2, "little") + padded
    assert old_element in rest
    changed = rest.replace(old_element, tag[keyword] + b"UI" + len(new).to_bytes(2, "little") + new)
    spool.write(ARRIVAL, head + b"DICM" + changed)
    assert file(store, spool)[0] in ("bad-uid", "uid-mismatch", "damaged-header")
    assert not rows(store, image)
    assert [path.parent.name for path in files_of(store)] == ["aside"]
    left = sorted(path for path in tmp_path.rglob("*") if "objects" not in path.parts and "node.sqlite" not in path.name)
    assert left == [path for path in before if "node.sqlite" not in path.name]


def test_what_is_no_dicom_is_set_aside_with_its_reason(store: Store, spool: Spool) -> None:
    for content in (b"", b"hello", bytes(128) + b"DICM" + os.urandom(3000), b"%PDF-1.7"):
        spool.write(ARRIVAL, content)
    codes = file(store, spool)
    assert set(codes) <= {"not-dicom", "damaged-header", "not-an-image"} and len(codes) == 4
    assert {row["code"] for row in rows(store, set_aside)} == set(codes)
    assert all(row["message"] for row in rows(store, set_aside))


def test_a_preamble_that_could_be_a_program_is_cleared(spool: Spool, tmp_path: Path) -> None:
    program = b"MZ" * 64
    whole = save(make_slice(0), tmp_path / "made.dcm").read_bytes()
    for content in (program + whole[128:], program + whole[128:400]):  # large, and smaller than any buffer
        for parts in (content, [content], [content[:50], content[50:130], content[130:]], [bytes([b]) for b in content[:300]]):
            assert spool.write(ARRIVAL, parts).read_bytes()[:132] == bytes(128) + b"DICM"


def test_what_breaks_off_leaves_nothing(spool: Spool) -> None:
    def content() -> Iterator[bytes]:
        yield b"x" * 1000
        raise ConnectionError

    with pytest.raises(ConnectionError):
        spool.write(ARRIVAL, content())
    assert not list((spool.root / ARRIVAL).iterdir())


def deflated_bomb(path: Path, *, expands_to: int) -> Path:
    dataset = make_slice(0)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    save(dataset, path)
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    packed = packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)  # stands alone, so it can be repeated
    path.write_bytes(content[:start] + packed + block * (expands_to // 2**24) + packer.flush())
    return path


def test_a_bomb_costs_itself_alone(store: Store, spool: Spool, tmp_path: Path) -> None:
    spool.write(ARRIVAL, deflated_bomb(tmp_path / "bomb.dcm", expands_to=6 * 2**30).read_bytes())
    put(spool, tmp_path, make_slice(1))
    assert sorted(file(store, spool)) == ["damaged-header", "filed"]


def test_a_header_that_takes_for_ever_is_given_up(tmp_path: Path) -> None:
    slow = save(make_slice(0), tmp_path / "slow.dcm")
    content = slow.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    # millions of empty private elements: much longer to parse than it is given
    junk = b"\x09\x00\x10\x00LO\x00\x00" * 5_000_000
    cut = content.index(b"\x10\x00\x10\x00PN", start)
    slow.write_bytes(content[:cut] + junk + content[cut:])
    quick = save(make_slice(1), tmp_path / "quick.dcm")
    impatient = Opener(batch_limit_s=0.5, file_limit_s=1.5)
    try:
        found = impatient.examine([slow, quick], [])
    finally:
        impatient.close()
    assert [each.header.fault for each in found] == ["damaged-header", ""]


def test_sequences_in_sequences_without_end(store: Store, spool: Spool, tmp_path: Path) -> None:
    path = save(make_slice(0), tmp_path / "deep.dcm")
    deep = b"\x00\x52\x30\x92SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20_000
    content = path.read_bytes()
    cut = content.index(b"\xe0\x7f\x10\x00")
    spool.write(ARRIVAL, content[:cut] + deep + content[cut:])
    put(spool, tmp_path, make_slice(1))
    assert sorted(file(store, spool)) == ["damaged-header", "filed"]


def test_a_child_that_cannot_start_is_the_operators_matter_and_no_files(
    monkeypatch: pytest.MonkeyPatch, store: Store, spool: Spool, tmp_path: Path
) -> None:
    from pneumoscope.errors import OperatorNeeded

    put(spool, tmp_path, make_slice(0))
    opener.close()
    monkeypatch.setattr(opening.sys, "executable", "/bin/false")
    with pytest.raises(OperatorNeeded):
        file_waiting(store, spool, ARRIVAL, settings=Settings())
    monkeypatch.undo()
    assert file(store, spool) == ["filed"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_too_long_for_any_scanner_are_refused(store: Store, spool: Spool, tmp_path: Path) -> None:
    put(spool, tmp_path, make_slice(0, StudyDescription="x" * 60_000))
    assert file(store, spool) == ["damaged-header"]


def test_a_study_may_not_grow_without_end(store: Store, spool: Spool, tmp_path: Path) -> None:
    put(spool, tmp_path, *(make_slice(k, Rows=512, Columns=512, PixelData=bytes(2 * 512 * 512)) for k in range(4)))
    codes = file(store, spool, dicom=Dicom(max_study_mb=1))
    assert sorted(codes) == ["filed", "study-too-large", "study-too-large", "study-too-large"]
    assert len(rows(store, image)) == 1


def test_the_most_urgent_rule_that_fits_counts(store: Store, spool: Spool, tmp_path: Path) -> None:
    rules = (
        PriorityRule(keyword="InstitutionalDepartmentName", pattern="emerg", priority="emergency"),
        PriorityRule(keyword="StationName", pattern="^CT2$", priority="inpatient"),
    )
    put(spool, tmp_path, make_slice(0, InstitutionalDepartmentName="EMERGENCY ROOM", StationName="CT2"))
    put(spool, tmp_path, make_slice(0, study="2", StationName="CT2"))
    put(spool, tmp_path, make_slice(0, study="3"))
    file(store, spool, arrival=Arrival(priorities=rules))
    found = {row["StudyInstanceUID"]: row["priority"] for row in rows(store, study)}
    assert found == {f"{ROOT}.1": Priority.EMERGENCY, f"{ROOT}.2": Priority.INPATIENT, f"{ROOT}.3": Priority.ROUTINE}


def report(**elements: object) -> Dataset:
    dataset = make_slice(90, SOPClassUID=ComprehensiveSRStorage, Modality="SR", Manufacturer="Pneumoscope", **elements)
    del dataset.PixelData
    return dataset


def test_a_result_of_ours_that_comes_back_changes_nothing(store: Store, spool: Spool, tmp_path: Path) -> None:
    put(spool, tmp_path, make_slice(0))
    file(store, spool)
    path = save(report(), tmp_path / "own.dcm")
    header = read_header(path)
    assert header.study is not None
    own = Filed(
        study=header.study,
        SeriesInstanceUID=header.instances[0].SeriesInstanceUID,
        SOPInstanceUID=header.instances[0].SOPInstanceUID,
        SOPClassUID=ComprehensiveSRStorage,
        TransferSyntaxUID="1.2.840.10008.1.2.1",
        key="readings/r1/own.dcm",
        sha256="0" * 64,
        size_bytes=1,
        received_at=datetime.now(UTC),
        reading_id="r1",
    )
    with store.database.begin() as db:
        arrivals.file_images(db, [own])
    before = rows(store, study), rows(store, image), files_of(store)
    put(spool, tmp_path, report(), report(SeriesDescription="changed by the archive"))
    assert file(store, spool) == ["own", "own"]
    assert (rows(store, study), rows(store, image), files_of(store)) == before


def test_a_result_of_another_installation_of_ours_is_filed_and_causes_no_reading(
    store: Store, spool: Spool, tmp_path: Path
) -> None:
    put(spool, tmp_path, report())  # of a study that is not here
    assert file(store, spool) == ["filed"]
    with store.database.look() as db:
        assert studies.arriving(db) == []
    put(spool, tmp_path, make_slice(0))
    file(store, spool)
    assert rows(store, study)[0]["revision"] == 1
    put(spool, tmp_path, report(SOPInstanceUID=f"{ROOT}.55"))
    file(store, spool)
    assert rows(store, study)[0]["revision"] == 1


def test_the_digest_is_of_the_dataset_alone(tmp_path: Path) -> None:
    one, other = make_slice(0), make_slice(0)
    other.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    found = [examine(save(dataset, tmp_path / f"{n}.dcm"), []).sha256 for n, dataset in enumerate((one, other))]
    assert found[0] == found[1]


def test_the_judge_looks_at_images_once(store: Store, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pneumoscope.filing.completeness as module

    put(spool, tmp_path, *(make_slice(k) for k in range(24)))
    file(store, spool)
    read: list[Path] = []
    monkeypatch.setattr(module, "read_header", lambda path: (read.append(path), read_header(path))[1])
    judge = Judge(store, Arrival(settle_s=0.001, quiet_s=60))
    with store.database.look() as db:
        (state,) = studies.arriving(db)
    state = replace(state, longest_pause_s=0.0, last_image_at=state.last_image_at - timedelta(seconds=1))
    assert judge.is_due(state) and judge.is_due(state)
    assert len(read) == 24
    put(spool, tmp_path, make_slice(24))
    file(store, spool)
    with store.database.look() as db:
        (state,) = studies.arriving(db)
    state = replace(state, longest_pause_s=0.0, last_image_at=state.last_image_at - timedelta(seconds=1))
    assert judge.is_due(state)
    assert len(read) == 25


def test_the_judge_waits_for_the_rest_of_a_series(store: Store, spool: Spool, tmp_path: Path) -> None:
    put(spool, tmp_path, *(make_slice(k) for k in range(24) if k != 11))
    file(store, spool)
    judge = Judge(store, Arrival(settle_s=0.001, quiet_s=60))
    with store.database.look() as db:
        (state,) = studies.arriving(db)
    assert not judge.is_due(replace(state, last_image_at=state.last_image_at - timedelta(seconds=1)))
    put(spool, tmp_path, make_slice(11))
    file(store, spool)
    with store.database.look() as db:
        (state,) = studies.arriving(db)
    assert judge.is_due(replace(state, longest_pause_s=0.0, last_image_at=state.last_image_at - timedelta(seconds=1)))


def test_outcomes_bear_their_uids(store: Store, spool: Spool, tmp_path: Path) -> None:
    put(spool, tmp_path, make_slice(0))
    (outcome,) = file_waiting(store, spool, ARRIVAL, settings=Settings())
    dataset = make_slice(0)
    assert (outcome.status, outcome.SOPInstanceUID) == (Status.FILED, dataset.SOPInstanceUID)
    assert (outcome.StudyInstanceUID, outcome.SeriesInstanceUID) == (dataset.StudyInstanceUID, dataset.SeriesInstanceUID)


def test_a_sequence_of_private_items_is_no_hindrance(store: Store, spool: Spool, tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue = "1"
    put(spool, tmp_path, make_slice(0, ProcedureCodeSequence=Sequence([item])))
    assert file(store, spool) == ["filed"]


@pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_patient_id_of_any_length_is_filed_or_set_aside(store: Store, spool: Spool, tmp_path: Path) -> None:
    digest = "".join(chr(0x4E00 + number) for number in os.urandom(1500))  # what an index cannot compress
    put(spool, tmp_path, make_slice(0, PatientID=digest), make_slice(1), make_slice(2, PatientName="X" * 60))
    assert sorted(file(store, spool)) == ["damaged-header", "filed", "filed"]


def test_an_object_that_cannot_be_filed_by_a_fault_of_ours_is_set_aside_and_keeps_no_other(
    store: Store, spool: Spool, tmp_path: Path
) -> None:
    bad = str(make_slice(1).SOPInstanceUID)

    class Faulty(FolderStore):
        def bring(self, sources: Mapping[str, Path]) -> None:
            if any(f"/{bad}-" in key for key in sources):
                raise ValueError
            super().bring(sources)

    faulty = Store(database=store.database, files=Faulty(store.files.root))
    put(spool, tmp_path, *(make_slice(k) for k in range(3)))
    assert sorted(file(faulty, spool)) == ["bug", "filed", "filed"]
    (aside,) = rows(store, set_aside)
    assert (aside["SOPInstanceUID"], aside["StudyInstanceUID"]) == (bad, str(make_slice(1).StudyInstanceUID))
    put(spool, tmp_path, make_slice(1))
    assert file(store, spool) == ["filed"], "sent again once it is mended"
