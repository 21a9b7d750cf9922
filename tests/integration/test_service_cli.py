"""`pneumoscope service`: an operator acts without a browser, in the names of the node's people."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pneumoscope.cli import app
from pneumoscope.models import load_bundle
from pneumoscope.store import Database, accounts, audit, service


def test_a_model_is_released_stopped_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_NODE__FOLDER", str(tmp_path / "node"))
    model = load_bundle().model
    title = f"{model.name} {model.version}"

    def run(*arguments: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, ["service", *arguments])
        return found.exit_code, " ".join(found.output.split())

    status, told = run()
    assert (status, told) == (0, f"{title}: live")
    database = Database(f"sqlite:///{tmp_path / 'node' / 'node.sqlite'}")
    with database.begin() as db:
        for login in ("kim", "lee"):
            accounts.add(db, login=login, roles=["administrator"])
        service.begin(db, model=title, actor=service.HUB)
    assessment = tmp_path / "assessment.json"
    document = {
        "schema_version": 1,
        "made_at": "2026-01-02T03:04:05+00:00",
        "model": {"name": model.name, "version": model.version},
        "cases": {"n": 30, "positive": 12, "scored": 30},
        "leakage": {"in_training": []},
        "auc": {"value": 0.9, "low": 0.8, "high": 0.97},
    }
    assessment.write_text(json.dumps(document))
    by_two = ("--by", "kim", "--and", "lee")
    for arguments, code, text in (
        (("release", *by_two), 2, "--assessment"),
        (("release", *by_two, "--assessment", str(tmp_path / "none.json")), 3, "input-not-found"),
        (("release", "--by", "kim", "--and", "Kim", "--assessment", str(assessment)), 3, "service-two-people"),
        (("release", "--by", "kim", "--and", "cho", "--assessment", str(assessment)), 3, "account-unknown"),
        (("release", *by_two, "--assessment", str(assessment)), 0, f"{title} is live."),
        (("release", *by_two, "--assessment", str(assessment)), 3, "service-step"),
        (("try", "lung-lesion-9.9.9", "--by", "kim"), 4, "model-unknown"),
        (("back", "--by", "kim"), 3, "service-step"),
        (("limits", "--by", "kim", "--between", "0.9", "0.95"), 3, "service-limits"),
        (("limits", "--by", "kim", "--between", "0.2", "0.6"), 0, "is live"),
        (("stop", "--by", "kim"), 2, "--reason"),
        (("stop", "--by", "KIM", "--reason", "new tube"), 0, f"{title} is stopped."),
        (("resume", *by_two, "--reason", "calibrated"), 0, f"{title} is live."),
    ):
        status, told = run(*arguments)
        assert status == code, told
        assert text in told
    status, told = run()
    assert "limits of this site: no sign below 0.2, sign from 0.6" in told
    assert "new tube" in told
    with database.look() as db:
        trail = [(entry["actor"], entry["detail"].split()[0]) for entry in audit.entries(db) if entry["action"] == "service"]
    database.close()
    assert trail == [
        ("the hub", "begin"),
        *(
            (who, what)
            for act in ("release", "limits", "stop", "resume")
            for who, what in (("kim", act), ("command line", "That"))
        ),
    ]
