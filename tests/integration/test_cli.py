"""The command line as a person or a script meets it: real processes, real files."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from dicom_maker import make_series
from pneumoscope.cli import app
from pneumoscope.phantom import Kind, Lesion, LesionKind, Order, PhantomSpec, render, write_dicom

NAME = "Hong^Gildong=洪^吉洞=홍^길동"
SICK = PhantomSpec(
    slices=75,
    slice_spacing_mm=4.0,
    slice_thickness_mm=1.0,
    size_px=256,
    pixel_spacing_mm=1.44,
    lesions=(
        Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(-100.0, 45.0, 110.0), volume_ml=120.0, seed=1),
        Lesion(kind=LesionKind.GROUND_GLASS, centre_mm=(100.0, 45.0, 130.0), volume_ml=40.0, seed=2),
    ),
)
#: Quicker to read.
COARSE = replace(SICK, slices=38, slice_spacing_mm=8.0)
RESULTS = {"reading.json", "report.html", "fhir.json", "seg.dcm", "sr.dcm", "capture-01.dcm"}


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pneumoscope.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_dicom(render(SICK), folder, order=Order.SHUFFLED, PatientName=NAME, PatientID="SECRET-ID")
    return folder


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coarse")
    write_dicom(render(COARSE), folder)
    return folder


@pytest.fixture(scope="module")
def done(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("out") / "result"
    return run("read", study, "--out", out), out


def reading(*arguments: object) -> dict:
    finished = run("read", *arguments, "--json")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(finished.stdout)


def share(document: dict, region: str) -> float:
    return next(f["share"] for f in document["findings"] if f["region"] == region)


def test_read_writes_all_results_and_a_summary(done: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    finished, out = done
    assert finished.returncode == 0, finished.stderr
    assert {path.name for path in out.iterdir()} >= RESULTS
    assert "report.html" in finished.stdout
    assert "right lung" in finished.stdout


def test_the_name_is_in_the_report_and_nowhere_on_the_terminal(done: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    finished, out = done
    assert "길동" in (out / "report.html").read_text(encoding="utf-8")
    for secret in ("Hong", "길동", "SECRET-ID"):
        assert secret not in finished.stdout + finished.stderr


def test_json_is_one_document_and_the_files_agree(study: Path, done: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    document, written = reading(study), json.loads((done[1] / "reading.json").read_text(encoding="utf-8"))
    for key in ("score", "category", "findings", "study", "severity_points", "model"):
        assert document[key] == written[key]


def test_known_lesions_are_found_where_they_are(done: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    document = json.loads((done[1] / "reading.json").read_text(encoding="utf-8"))
    lesion_ml = next(f["lesion_ml"] for f in document["findings"] if f["region"] == "lungs")
    assert lesion_ml == pytest.approx(160.0, rel=0.10)
    assert share(document, "right_lung") > 2 * share(document, "left_lung") > 0
    assert document["category"].startswith("sign")


def test_mirrored_patient_swaps_sides_and_a_clean_one_shows_no_sign(tmp_path: Path) -> None:
    write_dicom(render(replace(COARSE, mirrored=True)), tmp_path / "mirrored")
    document = reading(tmp_path / "mirrored")
    assert share(document, "left_lung") > 2 * share(document, "right_lung") > 0
    write_dicom(render(replace(COARSE, lesions=())), tmp_path / "clean")
    document = reading(tmp_path / "clean")
    assert document["category"] == "no sign"
    assert share(document, "lungs") < 0.001


@pytest.mark.parametrize("kind", [Kind.HEAD, Kind.ABDOMEN, Kind.WATER])
def test_what_is_no_chest_is_refused_not_called_normal(tmp_path: Path, kind: Kind) -> None:
    write_dicom(render(replace(COARSE, kind=kind, lesions=())), tmp_path / "study")
    finished = run("read", tmp_path / "study", "--out", tmp_path / "out")
    assert finished.returncode == 3
    assert "not-a-chest-ct" in finished.stderr
    assert not (tmp_path / "out").exists()


def test_volume_file_gives_everything_but_dicom(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(render(COARSE).hu)
    image.SetSpacing((1.44, 1.44, 8.0))
    sitk.WriteImage(image, str(tmp_path / "v.nii.gz"))
    finished = run("read", tmp_path / "v.nii.gz", "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"reading.json", "report.html", "fhir.json"}


def faults(tmp_path: Path) -> dict[str, tuple[list[object], int, str]]:
    (tmp_path / "empty").mkdir()
    make_series(tmp_path / "one", slices=1)
    make_series(tmp_path / "damaged")
    for file in (tmp_path / "damaged").iterdir():
        file.write_bytes(file.read_bytes()[:2000])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "keep.txt").write_text("mine")
    (tmp_path / "file").write_text("a file")
    return {
        "absent": ([tmp_path / "absent"], 3, "input-not-found"),
        "empty": ([tmp_path / "empty"], 3, "nothing-readable"),
        "one": ([tmp_path / "one"], 3, "too-few-slices"),
        "damaged": ([tmp_path / "damaged"], 3, "undecodable-slices"),
        "out not empty": ([tmp_path / "one", "--out", tmp_path / "full"], 4, "output-not-empty"),
        "out is a file": ([tmp_path / "one", "--out", tmp_path / "file"], 4, "output-not-a-folder"),
    }


def test_each_fault_is_one_sentence_with_a_code_and_a_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (arguments, status, code) in faults(tmp_path).items():
        finished = CliRunner().invoke(app, ["read", *map(str, arguments)])
        assert finished.exit_code == status, name
        assert f"({code})" in finished.stderr, name
        assert isinstance(finished.exception, SystemExit), name
        finished = CliRunner().invoke(app, ["read", *map(str, arguments), "--json"])
        assert finished.exit_code == status, name
        assert json.loads(finished.stdout)["error"] == code, name
    assert (tmp_path / "full" / "keep.txt").read_text() == "mine"
    assert not (tmp_path / "reading").exists()


def test_wrong_usage_is_status_two() -> None:
    assert run("read").returncode == 2
    assert run("nonsense").returncode == 2


def test_a_full_disk_leaves_nothing_half_written(coarse: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for a file system of its own")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    try:
        finished = run("read", coarse, "--out", disk / "out")
        assert finished.returncode == 4
        assert "disk-full" in finished.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_limit_on_file_size_leaves_nothing_half_written(coarse: Path, tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    finished = run("read", coarse, "--out", tmp_path / "out", preexec_fn=limit)
    assert finished.returncode == 4
    assert "Traceback" not in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_stops_at_once_and_leaves_nothing(study: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pneumoscope.cli", "read", str(study), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "(interrupted)" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_volumes_do_not_depend_on_the_order_of_files(study: Path, tmp_path: Path, done: tuple) -> None:
    for n, file in enumerate(sorted(study.iterdir(), reverse=True)):
        (tmp_path / f"{n:05d}").write_bytes(file.read_bytes())
    written = json.loads((done[1] / "reading.json").read_text(encoding="utf-8"))
    assert reading(tmp_path)["findings"] == written["findings"]
    assert np.isfinite(share(written, "lungs"))


def test_a_phantom_of_choice_is_written_with_its_truth(tmp_path: Path) -> None:
    small = ("--slices", 20, "--spacing-mm", 12, "--thickness-mm", 2, "--size-px", 128, "--pixel-mm", 2.8)
    done = run("phantom", tmp_path / "study", "--lesion", "consolidation:80,40,120:30", "--order", "shuffled", *small)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "study").iterdir())) == 20
    assert done.stdout.startswith(f"20 images in {tmp_path / 'study'}; true volumes: right ")
    assert done.stdout.rstrip().endswith("ground-glass 0.0 ml, consolidation 30.0 ml")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--lesion", "nodule:1,2,3:4"), "is no lesion: KIND:X,Y,Z:ML"),
        (("--lesion", "consolidation:0,-400,110:4"), "no room for 4.0 ml"),
        (("--kind", "foot"), "'foot' is not a valid Kind"),
        (("--slices", "0"), "greater than or equal to 1"),
    ],
)
def test_an_impossible_phantom_is_refused_in_words(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["phantom", str(tmp_path / "study"), *options])
    assert done.exit_code == 2
    assert says in done.stderr
    assert not (tmp_path / "study").exists()


def test_a_phantom_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    done = run("phantom", tmp_path)
    assert (done.returncode, "must be new or empty" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
