"""A real reader and the steps of a worker: what is held, what is observed, and what a candidate may do beside it."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
import sqlalchemy as sa
from dbos import DBOS

import databases
from pneumoscope.config import Settings
from pneumoscope.fleet.messages import EDGES, WORDS, Limits
from pneumoscope.models import DEFAULT_BUNDLE, load_bundle
from pneumoscope.models.manifest import MANIFEST_NAME, SIGNATURE_NAME
from pneumoscope.phantom import PhantomSpec, dicom_parcels, render
from pneumoscope.records import Category, Study
from pneumoscope.store import Store, arrivals, now, observations, outbox, readings, service, studies
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.files import image_key, result_key
from pneumoscope.store.schema import StudyState
from pneumoscope.training.signing import make_key, sign, write_manifest
from pneumoscope.worker import workflow
from pneumoscope.worker.child import Reader
from pneumoscope.worker.clerk import Clerk
from pneumoscope.worker.comparing import compare
from pneumoscope.worker.process import _launch
from pneumoscope.worker.workflow import Bench, assemble, read, set_bench, settle
from servers import wait_for

SETTINGS = Settings(destinations=({"kind": "folder", "name": "pacs", "path": "/nowhere"},))
SECOND = "lung-lesion 0.9.0"


@dataclass
class Canned:
    """What a reader answered, with the results that it wrote."""

    answer: dict[str, Any]
    contents: dict[str, bytes]


@dataclass
class Shop:
    """A worker without its loops, one study, and a bundle to try."""

    store: Store
    bench: Bench
    study: str
    home: Path
    last: str = ""
    candidate: str = ""

    @property
    def title(self) -> str:
        return self.bench.reader.model_title

    def take(self) -> str:
        with self.store.database.begin() as db:
            found = studies.read_again(db, self.study)
        assert found
        return found

    def read(self, reading_id: str) -> str:
        return self._settled(reading_id, read(reading_id, assemble(reading_id)))

    def settle(self, given: Canned, *, written: bool = True) -> str:
        """Take a reading, which is then ``last``, and settle it by an answer that a reader gave before."""
        self.last = self.take()
        for name, content in given.contents.items() if written else ():
            self.store.files.put(result_key(self.last, name), content)
        with self.store.database.begin() as db:
            readings.start(db, self.last, process_id="worker-x")
        return self._settled(self.last, given.answer if written else {**given.answer, "parcels": []})

    def _settled(self, reading_id: str, answer: dict[str, Any]) -> str:
        outcome, self.candidate = settle(reading_id, answer)
        return outcome

    def row(self, reading_id: str) -> sa.RowMapping:
        with self.store.database.look() as db:
            return readings.get(db, reading_id)

    def observed(self, reading_id: str) -> list[sa.RowMapping]:
        with self.store.database.look() as db:
            return [row for row in observations.of_study(db, self.study) if row["reading_id"] == reading_id]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A machine that trusts one more key, and has a second bundle by it."""
    place = tmp_path_factory.mktemp("home")
    (place / "trusted_keys").mkdir()
    make_key(place / "ours.key", place / "trusted_keys" / "ours.pub")
    folder = place / "models" / SECOND.replace(" ", "-")
    shutil.copytree(DEFAULT_BUNDLE, folder, ignore=shutil.ignore_patterns(MANIFEST_NAME, SIGNATURE_NAME, "__pycache__"))
    shipped = load_bundle()
    write_manifest(folder, version="0.9.0", lesion_threshold=0.4, calibration=shipped.calibration)
    sign(folder, place / "ours.key")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PNEUMOSCOPE_HOME", str(place))
        yield place


@pytest.fixture(scope="module")
def reader(home: Path) -> Iterator[Reader]:
    found = Reader()
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    spec = PhantomSpec(slices=20, size_px=160, pixel_spacing_mm=2.4, slice_spacing_mm=9.0)
    found = []
    for parcel in dicom_parcels(render(spec)):
        one = pydicom.dcmread(BytesIO(parcel.content))
        one.Manufacturer, one.ConvolutionKernel, one.Exposure = "SIEMENS", "Bl57d", 80
        buffer = BytesIO()
        one.save_as(buffer)
        found.append(buffer.getvalue())
    return found


@pytest.fixture(scope="module")
def canned(reader: Reader, images: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Canned:
    folder = tmp_path_factory.mktemp("canned")
    files = [folder / f"{number}.dcm" for number in range(len(images))]
    for file, content in zip(files, images, strict=True):
        file.write_bytes(content)
    answer = reader.read(files, made_at=now(), out=folder / "out")
    return Canned(answer, {path.name: path.read_bytes() for path in (folder / "out").iterdir()})


@pytest.fixture
def shop(tmp_path: Path, home: Path, reader: Reader, images: list[bytes]) -> Iterator[Shop]:
    store = databases.store(tmp_path)
    study = ""
    for content in images:
        one = pydicom.dcmread(BytesIO(content))
        study = str(one.StudyInstanceUID)
        key = image_key(study, one.SeriesInstanceUID, one.SOPInstanceUID, "0" * 64)
        store.files.put(key, content)
        filed = Filed(
            study=Study(StudyInstanceUID=study),
            SeriesInstanceUID=one.SeriesInstanceUID,
            SOPInstanceUID=one.SOPInstanceUID,
            SOPClassUID=one.SOPClassUID,
            TransferSyntaxUID=one.file_meta.TransferSyntaxUID,
            key=key,
            sha256="0" * 64,
            size_bytes=len(content),
            received_at=now(),
        )
        with store.database.begin() as db:
            arrivals.file_images(db, [filed])
    bench = Bench(settings=SETTINGS, store=store, process_id="worker-x", reader=reader)
    set_bench(bench)
    yield Shop(store, bench, study, home)
    store.database.close()


def test_a_reading_is_told_with_what_is_known_of_its_input(canned: Canned) -> None:
    found = canned.answer["features"]
    assert found.keys() <= {*EDGES, *WORDS}
    assert (found["manufacturer"], found["kernel"], found["thickness_mm"], found["dose_mas"]) == ("siemens", "sharp", 9, 80)
    assert found["noise_hu"] > 0
    assert found["lung_volume_l"] > 1
    assert canned.answer["reading_s"] > 0


def test_where_nothing_was_decided_results_are_filed_and_the_reading_is_observed(shop: Shop, canned: Canned) -> None:
    assert shop.settle(canned) == "read"
    with shop.store.database.look() as db:
        assert readings.parcels(db, shop.last)
        assert len(outbox.of_reading(db, shop.last)) == 1
    (seen,) = shop.observed(shop.last)
    assert (seen["model"], seen["role"], seen["mode"], seen["outcome"]) == (shop.title, "present", "live", "read")
    assert seen["probability"] == shop.row(shop.last)["probability"]
    assert seen["features"] == canned.answer["features"]
    assert seen["wait_s"] >= 0
    assert not shop.candidate
    assert shop.settle(canned) == "read"
    assert shop.observed(shop.last)[0]["wait_s"] is None, "nobody waited since the images came"


def test_a_model_in_shadow_shows_nothing_and_its_numbers_are_kept(shop: Shop) -> None:
    with shop.store.database.begin() as db:
        service.begin(db, model=shop.title, actor=service.HUB)
    reading_id = shop.take()
    assert shop.read(reading_id) == "held"
    row = shop.row(reading_id)
    assert (row["state"], row["code"], row["model"]) == ("held", "shadow-mode", shop.title)
    assert row["probability"] is None
    assert not row["category"] + row["headline"]
    with shop.store.database.look() as db:
        assert not readings.parcels(db, reading_id)
        assert not outbox.of_reading(db, reading_id)
        study = studies.get(db, shop.study)
    assert study is not None
    assert (study["state"], study["code"]) == (StudyState.HELD, "shadow-mode")
    assert not shop.store.files.path(f"readings/{reading_id}").exists()
    (seen,) = shop.observed(reading_id)
    assert seen["mode"] == "shadow"
    assert seen["probability"] is not None


def test_what_is_stopped_while_it_reads_is_held_and_its_files_go(shop: Shop, canned: Canned) -> None:
    with shop.store.database.begin() as db:
        service.stop(db, actor="kim", reason="new tube", default_model=shop.title)
    assert shop.settle(canned) == "held"
    assert not shop.store.files.path(f"readings/{shop.last}").exists()
    assert shop.row(shop.last)["code"] == "model-stopped"
    assert settle(shop.last, canned.answer) == ("held", ""), "as where the worker died before it could note this"


def test_what_is_released_or_replaced_while_it_reads_is_read_again(shop: Shop, canned: Canned) -> None:
    with shop.store.database.begin() as db:
        service.begin(db, model=shop.title, actor=service.HUB)
        service.release(db, actor="kim", second="lee")
    assert shop.settle(canned, written=False) == "retried"
    assert (shop.row(shop.last)["state"], shop.row(shop.last)["attempts"]) == ("waiting", 0)
    with shop.store.database.begin() as db:
        service.propose(db, SECOND, actor="kim")
        service.promote(db, actor="kim", second="lee")
    assert shop.settle(canned) == "retried"
    assert not shop.store.files.path(f"readings/{shop.last}").exists()
    assert not shop.observed(shop.last)


def test_the_model_in_service_reads_by_the_limits_of_the_site(shop: Shop, canned: Canned) -> None:
    assert canned.answer["summary"]["category"] == "no sign"
    with shop.store.database.begin() as db:
        service.propose(db, SECOND, actor="kim", default_model=shop.title)
        service.promote(db, actor="kim", second="lee")
        allowed = Limits(no_sign_below=(0, 1), sign_from=(0, 1))
        service.set_limits(db, actor="kim", no_sign_below=0.0, sign_from=0.0, allowed=allowed)
    reading_id = shop.take()
    assert shop.read(reading_id) == "read"
    assert (shop.row(reading_id)["model"], shop.row(reading_id)["category"]) == (SECOND, Category.SIGN)


def test_what_the_reader_tells_of_its_objects_is_what_lies_there_and_names_nobody(canned: Canned) -> None:
    told = {item["name"]: item["facts"] for item in canned.answer["parcels"] if item["facts"]}
    assert told.keys() == {name for name in canned.contents if name.endswith(".dcm")}
    for name, facts in told.items():
        content = canned.contents[name]
        one = pydicom.dcmread(BytesIO(content))
        assert (facts["sha256"], facts["size_bytes"]) == (sha256(content).hexdigest(), len(content))
        assert (facts["SOPInstanceUID"], facts["SeriesNumber"]) == (one.SOPInstanceUID, one.SeriesNumber)
        assert str(one.PatientName) not in json.dumps(facts)


def test_a_candidate_is_observed_and_never_filed(shop: Shop, canned: Canned) -> None:
    with shop.store.database.begin() as db:
        service.propose(db, SECOND, actor="kim", default_model=shop.title)
    assert shop.settle(canned) == "read"
    assert shop.candidate == SECOND
    before = shop.row(shop.last)
    assert compare(shop.last, SECOND) == "read"
    assert shop.row(shop.last) == before
    present, candidate = shop.observed(shop.last)
    assert (candidate["role"], candidate["model"], candidate["wait_s"]) == ("candidate", SECOND, None)
    with shop.store.database.look() as db:
        (pair,) = observations.pairs(db, candidate=SECOND)
        assert len(readings.parcels(db, shop.last)) == len(canned.contents)
    assert pair.score_difference == pytest.approx(candidate["probability"] - present["probability"])
    assert compare(shop.last, "lung-lesion 7.0.0") == "over", "it is the candidate no more"


def test_a_candidate_makes_room_for_anything_else(shop: Shop, canned: Canned) -> None:
    with shop.store.database.begin() as db:
        service.propose(db, SECOND, actor="kim", default_model=shop.title)
    assert shop.settle(canned) == "read"
    reading_id = shop.last
    with ThreadPoolExecutor(1) as thread:
        trying = thread.submit(compare, reading_id, SECOND)
        wait_for(lambda: shop.bench.reading_priority == workflow.LAST_PRIORITY, every_s=0.01)
        shop.take()
        Clerk(shop.bench)._make_room(arriving=False)
        assert trying.result(timeout=30) == "postponed"
        assert shop.bench.reading_priority is None
        assert compare(reading_id, SECOND) == "postponed", "something waits still"
        shop.bench.reader.stop()  # it dies with this thread
    assert len(shop.observed(reading_id)) == 1


def test_a_bundle_that_does_not_verify_never_runs(shop: Shop, canned: Canned) -> None:
    bad = "lung-lesion 0.8.0"
    folder = shop.home / "models" / bad.replace(" ", "-")
    shutil.copytree(shop.home / "models" / SECOND.replace(" ", "-"), folder)
    write_manifest(folder, version="0.8.0", lesion_threshold=0.4, calibration=load_bundle().calibration)
    sign(folder, shop.home / "ours.key")
    (folder / "network.onnx").write_bytes(b"other")
    with shop.store.database.begin() as db:
        service.propose(db, bad, actor="kim", default_model=shop.title)
    assert shop.settle(canned) == "read"
    assert compare(shop.last, bad) == "failed"
    assert shop.observed(shop.last)[1]["code"] == "model-altered"
    with shop.store.database.begin() as db:
        service.promote(db, actor="kim", second="lee")
    reading_id = shop.take()
    assert shop.read(reading_id) == "failed"
    assert shop.row(reading_id)["code"] == "model-altered"
    assert shop.observed(reading_id)[0]["outcome"] == "failed"
    with shop.store.database.begin() as db:
        service.back(db, actor="kim", reason="it is broken")
    assert shop.settle(canned) == "read"
    shutil.rmtree(folder)


def test_the_queue_has_the_candidate_read_by_itself(shop: Shop, tmp_path: Path) -> None:
    bench = Bench(settings=Settings(node={"folder": tmp_path}), store=shop.store, process_id="w", reader=shop.bench.reader)
    with shop.store.database.begin() as db:
        service.begin(db, model=shop.title, actor=service.HUB)
        service.propose(db, SECOND, actor="kim")
        reading_id = studies.take(db, shop.study, revision=20)
    assert reading_id
    _launch(bench)
    try:
        Clerk(bench).look()
        wait_for(lambda: len(shop.observed(reading_id)) == 2, seconds=180)
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=5)
    assert [(row["role"], row["mode"]) for row in shop.observed(reading_id)] == [("present", "shadow"), ("candidate", "shadow")]
