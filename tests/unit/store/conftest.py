"""A node's database on either kind of server, empty for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import databases
from pneumoscope.store import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with databases.on(request.param, request, tmp_path) as found:
        yield found
