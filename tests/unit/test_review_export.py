"""Answers as data: pseudonyms that hold, labels that ``evaluate`` takes."""

import csv
import json
from pathlib import Path

import pytest

import databases
from pneumoscope.config import Settings
from pneumoscope.evaluation.labels import read_labels
from pneumoscope.node.reviews import export
from pneumoscope.records import Answer, Category, Judgement, Objection, Region
from pneumoscope.store import now
from pneumoscope.store.schema import review

ACCEPT = Answer(judgement=Judgement.ACCEPT)
REJECT = Answer(judgement=Judgement.REJECT, objection=Objection.OTHER, text="=Mr Phantom's pacemaker")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A node whose answers are those of ``give``."""
    found = Settings(node={"folder": tmp_path / "node"})
    database = databases.sqlite(found.node.folder / "node.sqlite")
    sign, none = Category.SIGN, Category.NO_SIGN
    no_sign = Answer(judgement=Judgement.MODIFY, objection=Objection.FALSE_LESION, category=none, removed=(Region.LEFT_UPPER,))
    with database.begin() as db:
        for k, (study, version, reader, found_category, answer, supersedes) in enumerate(
            [
                ("1.1", 1, "kim", none, ACCEPT, None),  # an older version counts no more
                ("1.1", 2, "kim", sign, ACCEPT, None),
                ("1.1", 2, "lee", sign, ACCEPT, None),
                ("1.2", 1, "kim", sign, ACCEPT, None),
                ("1.2", 1, "lee", sign, no_sign, None),  # they disagree
                ("1.3", 1, "kim", sign, REJECT, None),
                ("1.3", 1, "kim", sign, no_sign, "5"),
                ("1.4", 1, "lee", none, REJECT, None),
                ("1.5", 1, "lee", Category.INDETERMINATE, ACCEPT, None),
            ]
        ):
            db.execute(
                review.insert().values(
                    id=str(k),
                    reading_id=f"{study}/{version}",
                    number=k + 1,
                    StudyInstanceUID=study,
                    version=version,
                    model="m 1",
                    probability=0.5,
                    found_category=found_category,
                    site="CT1",
                    reader=reader,
                    judgement=answer.judgement,
                    objection=answer.objection or "",
                    text=answer.text,
                    category=answer.category or "",
                    added=list(answer.added),
                    removed=list(answer.removed),
                    at=now(),
                    supersedes=supersedes,
                )
            )
    database.close()
    return found


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_labels_are_those_on_which_all_readers_of_the_last_version_agree(settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    assert export(settings, out, identified=True, labels=True) == 2
    assert {case.name: case.positive for case in read_labels(out)} == {"1.1": True, "1.3": False}


def test_without_leave_nothing_leads_back_to_a_person(settings: Settings, tmp_path: Path) -> None:
    out, again = tmp_path / "answers.csv", tmp_path / "again.jsonl"
    assert export(settings, out, identified=False, labels=False) == 9
    assert export(settings, again, identified=False, labels=False) == 9
    written = out.read_text() + again.read_text()
    assert not any(word in written for word in ("kim", "lee", "pacemaker", ",1.1,"))
    found, same = rows(out), [json.loads(line) for line in again.read_text().splitlines()]
    assert [row["study"] for row in found] == [row["study"] for row in same]
    assert len({row["study"] for row in found}) == 5
    assert len({row["reader"] for row in found}) == 2
    assert all(row["study"].startswith("2.25.") and len(row["study"]) <= 64 for row in found)
    assert (settings.node.folder / "pseudonyms.key").stat().st_mode & 0o077 == 0


def test_all_answers_are_told_and_which_of_them_count(settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    export(settings, out, identified=True, labels=False)
    found = rows(out)
    assert [row["current"] for row in found] == ["1", "1", "1", "1", "1", "0", "1", "1", "1"]
    corrected = found[6]
    assert (corrected["study"], corrected["judgement"], corrected["reason"]) == ("1.3", "modify", "false lesion")
    assert (corrected["category"], corrected["corrected_category"]) == (Category.SIGN, Category.NO_SIGN)
    assert corrected["zones_removed"] == "left_upper_zone"
    assert found[5]["text"] == "'=Mr Phantom's pacemaker"  # no formula for a spreadsheet
