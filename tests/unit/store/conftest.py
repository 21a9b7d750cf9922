"""A node's database on either kind of server, empty for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import databases
from pneumoscope.store import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = databases.sqlite(tmp_path / "node.sqlite")
    else:
        found = databases.emptied(request.getfixturevalue("shared_postgres"))
    yield found
    found.close()
