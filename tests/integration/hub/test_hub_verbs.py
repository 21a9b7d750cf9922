"""The hub's verbs on the command line, beside a hub that need not run."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet_maker import midnight, report, window
from pneumoscope.cli import app
from pneumoscope.config import load_settings
from pneumoscope.fleet.messages import Policy
from pneumoscope.fleet.token import Token
from pneumoscope.hub.prepare import prepare
from pneumoscope.hub.taking import Said, take
from pneumoscope.models import DEFAULT_BUNDLE
from pneumoscope.models.manifest import parse_manifest
from pneumoscope.store import now, sites
from pneumoscope.store.sites import Caller


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "hub.toml"
    path.write_text(f'[node]\nfolder = "{tmp_path / "hub"}"\n[hub]\nname = "192.0.2.7"\n')
    return path


def run(config: Path, *words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["hub", *words, "--config", str(config)])
    assert result.exit_code == status, result.output
    return result.output


def test_every_verb_does_what_it_says_and_says_what_it_did(config: Path, tmp_path: Path) -> None:
    told = run(config, "invite", "--site", "First Hospital", "--province", "Hubei")
    assert Token.parse(told.split()[-1]).join_url == "https://192.0.2.7:8443/fleet/join"
    run(config, "invite", "--site", "Second Hospital", "--province", "Hubei")
    run(config, "invite", status=2)
    join_and_report(config)
    assert "Offered: lung-lesion" in run(config, "offer", str(DEFAULT_BUNDLE))
    manifest = parse_manifest((DEFAULT_BUNDLE / "bundle.json").read_bytes())
    model = f"{manifest.name} {manifest.version}"
    said = run(config, "roll-out", "lung-lesion 99.0.0", "--canary", "First Hospital", status=3)
    assert "offer-unknown" in said
    assert f"offered are: {model}." in said
    assert "there are: First Hospital" in run(config, "roll-out", model, "--canary", "Frist Hospital", status=3)
    assert "canary-wrong" in run(config, "roll-out", model, "--canary", "Second Hospital", status=3)
    assert "shares-wrong" in run(config, "roll-out", model, "--canary", "First Hospital", "--share", "2", status=3)
    assert "begins with First Hospital" in run(config, "roll-out", model, "--canary", "First Hospital")
    assert "is paused" in run(config, "pause", "--reason", "a question")
    assert "rollout-state" in run(config, "pause", status=3)
    assert "goes on" in run(config, "resume")
    assert "site-not-in-rollout" in run(config, "back", "--site", "Second Hospital", status=3)
    assert "First Hospital goes back" in run(config, "back", "--site", "First Hospital")
    assert "0 sites go back" in run(config, "back")
    assert "service-reason" in run(config, "stop", model, status=3)
    assert "hears it with its next report" in run(config, "stop", model, "--reason", "odd scores")
    assert "stop-stands" in run(config, "roll-out", model, "--canary", "First Hospital", status=3)
    assert "two people of the site resume it" in run(config, "stop", model, "--lift")
    assert "stop-unknown" in run(config, "stop", model, "--lift", status=3)
    assert "rollout-unknown" in run(config, "resume", "--rollout", "none", status=3)
    run(config, "export", str(tmp_path / "fleet.csv"))
    assert (
        (tmp_path / "fleet.csv")
        .read_text()
        .splitlines()[1]
        .startswith(f"Hubei,First Hospital,{midnight(days_ago=1):%Y-%m-%d},")
    )
    run(config, "export", str(tmp_path / "fleet.json"))
    assert json.loads((tmp_path / "fleet.json").read_text())["entry"][0]["resource"]["resourceType"] == "MeasureReport"
    run(config, "export", str(tmp_path / "fleet.txt"), status=2)
    assert "First Hospital is shut out" in run(config, "shut-out", "First Hospital")
    assert "site-unknown" in run(config, "shut-out", "Nobody", status=3)


def join_and_report(config: Path) -> None:
    store = prepare(load_settings(config))
    with store.database.begin() as db:
        site = sites.find(db, "First Hospital")["id"]
        sites.joined(db, site, serial="1", until=now())
        told = report(window(midnight(days_ago=1)))
        take(db, [Said(caller=Caller(site=site, serial="1"), report=told)], policy=Policy())
    store.database.close()


def test_keys_are_of_their_owner_alone(config: Path) -> None:
    run(config, "invite", "--site", "First Hospital", "--province", "Hubei")
    folder = load_settings(config).node.folder / "hub"
    assert (folder / "authority.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_token_that_is_none_is_refused() -> None:
    from pneumoscope.errors import Rejected

    good = Token(secret="s" * 43, join_url="https://hub:8443/fleet/join", authority_sha256="a" * 64)
    assert Token.parse(f"  {good.written()}\n") == good
    assert good.authority_url == "https://hub:8443/fleet/authority"
    for wrong in ("", "pneumoscope-join-", "pneumoscope-join-e30", good.written()[:-9], "äöü"):
        with pytest.raises(Rejected, match="no token"):
            Token.parse(wrong)
