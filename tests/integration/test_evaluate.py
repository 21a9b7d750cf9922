"""The acceptance test as a hospital runs it: the command, on pictures, studies and things that are neither."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.phantom import training_slice

pytestmark = pytest.mark.soak

COMMAND = [sys.executable, "-m", "pneumoscope.cli"]


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty synthetic slices as pictures of several kinds, two studies, and four rows that cannot be read."""
    folder = tmp_path_factory.mktemp("cases")
    rng = np.random.default_rng(2)
    rows, sick, well = [], 0, 0
    while min(sick, well) < 20:
        hu, lungs, lesions = training_slice(rng, size_px=256, pixel_spacing_mm=1.5)
        share = lesions.sum() / max(1, lungs.sum())
        positive = share > 0.05
        if lungs.mean() < 0.06 or 0 < share <= 0.05 or (sick if positive else well) >= 20:
            continue
        sick, well = sick + positive, well + (not positive)
        low = rng.uniform(-1400, -1100)
        grey = np.clip((hu - low) / rng.uniform(1300, 1700) * 255, 0, 255).astype(np.uint8)
        name = f"slices/{len(rows)}.{('png', 'jpg')[len(rows) % 2]}"
        (folder / "slices").mkdir(exist_ok=True)
        image = Image.fromarray(grey)
        (image.convert("RGB") if len(rows) % 3 else image).save(folder / name)
        rows.append([name, int(positive), f"patient {len(rows) // 2}", ("North", "South")[len(rows) % 2], 50 + len(rows) % 40])
    for name, lesion in (("sick", ["--lesion", "ground-glass:-90,45,110:60"]), ("well", ["--healthy"])):
        made = run("phantom", folder / name, "--slices", 70, "--spacing-mm", 4.5, "--size-px", 256, "--pixel-mm", 1.5, *lesion)
        assert made.returncode == 0, made.stderr
        rows.append([name, int(name == "sick"), f"study {name}", "North", 61])
    (folder / "text.png").write_text("no picture")
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(folder / "black.png")
    Image.fromarray(np.zeros((200, 200), np.uint16)).save(folder / "deep.png")
    rows += [[name, 1, name, "South", 40] for name in ("text.png", "black.png", "deep.png", "nothing-here")]
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "patient", "site", "age"], *rows])
    return folder


@pytest.fixture(scope="module")
def assessed(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "assessment"
    done = run("evaluate", cases / "labels.csv", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "46 cases" in done.stdout
    return out


def document(out: Path) -> dict:
    return json.loads((out / "assessment.json").read_text())


def test_everything_is_counted_and_sick_are_told_from_well(assessed: Path) -> None:
    found = document(assessed)
    assert found["cases"] == {"n": 46, "patients": 26, "positive": 25, "scored": 42, "kinds": {"picture": 43, "study": 3}}
    assert {row["code"]: row["n"] for row in found["failed"]} == {
        "damaged-picture": 1,
        "not-a-chest-ct": 1,
        "picture-depth": 1,
        "input-not-found": 1,
    }
    assert sum(sum(row.values()) for row in found["confusion"].values()) == 46
    assert found["auc"]["value"] > 0.9
    assert found["auc"]["low"] <= found["auc"]["value"] <= found["auc"]["high"]
    strict, point = found["unanswered_as_wrong"]["triage"], found["operating_points"]["triage"]
    assert strict["sensitivity"]["value"] < point["sensitivity"]["value"]
    assert {(row["column"], row["value"]) for row in found["subgroups"]} >= {("site", "North"), ("site", "South")}
    assert found["leakage"]["checked"]
    assert found["leakage"]["in_training"] == []


def test_scores_are_one_line_a_case(assessed: Path) -> None:
    with (assessed / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 46
    by_path = {row["path"]: row for row in rows}
    assert float(by_path["sick"]["score"]) > float(by_path["well"]["score"])
    assert by_path["text.png"]["code"] == "damaged-picture"


def test_the_page_names_no_patient_and_asks_no_other_host(assessed: Path) -> None:
    page = (assessed / "assessment.html").read_text()
    assert "patient 3" not in page
    assert "http:" not in page.replace("http-equiv", "")
    assert "https:" not in page
    assert "<script" not in page
    assert page.count("<svg") == 4


def test_a_second_run_scores_nothing_again_and_says_the_same(assessed: Path, cases: Path) -> None:
    lines = (assessed / "outcomes.jsonl").read_text()
    before = document(assessed)
    assert run("evaluate", cases / "labels.csv", "--out", assessed).returncode == 0
    assert (assessed / "outcomes.jsonl").read_text() == lines
    assert {k: v for k, v in document(assessed).items() if k != "made_at"} == {
        k: v for k, v in before.items() if k != "made_at"
    }


def test_a_killed_run_goes_on_where_it_stopped(cases: Path, tmp_path: Path) -> None:
    out = tmp_path / "assessment"
    command = [*COMMAND, "evaluate", str(cases / "labels.csv"), "--out", str(out), "--processes", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    store = out / "outcomes.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (store.exists() and store.read_text().count("\n") >= 3):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = store.read_text().splitlines()
    assert 3 <= len(kept) < 46
    with store.open("a") as stream:
        stream.write('{"key": "cut sho')  # what a crash in mid-write leaves
        stream.write("\n")
    assert run("evaluate", cases / "labels.csv", "--out", out).returncode == 0
    assert store.read_text().splitlines()[: len(kept)] == kept
    assert len(store.read_text().splitlines()) == 47
    assert document(out)["cases"]["scored"] == 42


def test_a_copy_with_another_label_is_pointed_out(cases: Path, tmp_path: Path) -> None:
    Image.open(cases / "slices/0.png").resize((300, 300)).save(tmp_path / "copy.jpg")
    with (cases / "labels.csv").open(newline="") as file:
        label = next(csv.DictReader(file))["label"]
    (tmp_path / "labels.csv").write_text(f"path,label\n{cases}/slices/0.png,{label}\ncopy.jpg,{1 - int(label)}\n")
    assert run("evaluate", tmp_path / "labels.csv", "--out", tmp_path / "out").returncode == 0
    assert document(tmp_path / "out")["leakage"]["conflicting"] == [[f"{cases}/slices/0.png", "copy.jpg"]]


def test_bad_lists_and_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\na,perhaps\n")
    refused = run("evaluate", tmp_path / "labels.csv", "--out", tmp_path / "out")
    assert refused.returncode == 3
    assert "bad-labels" in refused.stderr
    (tmp_path / "labels.csv").write_text("path,label\na,1\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep")
    refused = run("evaluate", tmp_path / "labels.csv", "--out", tmp_path / "mine")
    assert refused.returncode == 4
    assert "output-not-empty" in refused.stderr


def test_one_class_alone_is_assessed_as_far_as_it_goes(cases: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"path,label\n{cases}/slices/0.png,1\n{cases}/slices/2.png,1\n")
    done = run("evaluate", tmp_path / "labels.csv", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert document(tmp_path / "out")["auc"] is None
    assert "No AUC" in (tmp_path / "out" / "assessment.html").read_text()


def test_two_models_are_compared_on_the_same_cases(cases: Path, tmp_path: Path) -> None:
    lines = (cases / "labels.csv").read_text().splitlines()
    pictures = "\n".join(f"{cases}/{line}" if "slices/" in line else line for line in lines[:31])
    (tmp_path / "labels.csv").write_text(pictures + "\n")
    done = run("model", "compare", "shipped", "shipped", tmp_path / "labels.csv", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["auc"][0] == found["auc"][1]
    assert found["auc_difference"]["difference"] == 0
    assert found["auc_difference"]["p"] == 1
    assert found["operating_points"]["triage"]["sensitivity_difference"]["value"] == 0
