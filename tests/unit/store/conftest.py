"""A node's database on either kind of server, empty for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumoscope.store import Database
from servers import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres() as running:
        yield running.url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    else:
        found = Database(request.getfixturevalue("server"))
        with found.engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
    found.migrate()
    yield found
    found.close()
