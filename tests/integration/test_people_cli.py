"""`pneumoscope people`, with which nobody is locked out for ever."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pneumoscope.cli import app
from pneumoscope.store import Database, accounts, audit, passwords

PASSWORD = re.compile(r"First password of ([a-z]+): (([a-z0-9]{5}-){3}[a-z0-9]{5})\n")


def test_people_are_added_reset_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_NODE__FOLDER", str(tmp_path / "node"))

    def run(*arguments: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, ["people", *arguments])
        return found.exit_code, found.output

    first = PASSWORD.fullmatch(run("add", "kim", "--role", "reader", "--name", "Dr Kim")[1])
    assert first[1] == "kim"
    for arguments, status, text in (
        (("add", "KIM", "--role", "reader"), 3, "account-taken"),
        (("add", "../x", "--role", "reader"), 3, "login-wrong"),
        (("add", "lee"), 2, "at least one --role"),
        (("add", "lee", "--role", "king"), 2, "--role is one of"),
        (("reset", "nobody"), 3, "account-unknown"),
    ):
        code, output = run(*arguments)
        assert code == status
        assert text in output
    database = Database(f"sqlite:///{tmp_path / 'node' / 'node.sqlite'}")
    with database.begin() as db:
        row = accounts.find(db, subject="kim")
        assert passwords.fits(first[2], row["password_hash"])
        accounts.set_disabled(db, row["id"], True)
    second = PASSWORD.fullmatch(run("reset", "kim", "--role", "administrator")[1])
    with database.look() as db:
        row = accounts.find(db, subject="kim")
        assert passwords.fits(second[2], row["password_hash"])
        assert (row["disabled"], row["must_change"], row["roles"]) == (False, True, ["administrator"])
        told = [(entry["actor"], entry["detail"]) for entry in audit.entries(db)]
    database.close()
    assert told == [
        ("command line", "kim was added: reader."),
        ("command line", "kim was given a new first password and is now: administrator."),
    ]
    assert "Dr Kim" in run("list")[1]
