"""Databases for tests: empty, and of the newest schema without the migrations being carried out each time."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumoscope.store import Database, FolderStore, Store


@cache
def _newest() -> bytes:
    """One that the migrations made, as its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "node.sqlite"
        database = Database(f"sqlite:///{path}")
        database.migrate()
        database.close()
        return path.read_bytes()


def sqlite(path: Path) -> Database:
    """A new file, opened."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_newest())
    return Database(f"sqlite:///{path}")


def store(folder: Path) -> Store:
    """With its objects beside it."""
    return Store(database=sqlite(folder / "node.sqlite"), files=FolderStore(folder / "objects"))


def emptied(url: str) -> Database:
    """The database of a PostgreSQL server that other tests have used, opened."""
    database = Database(url)
    database.migrate()
    with database.begin() as db:
        names = [name for name in sa.inspect(db).get_table_names() if name != "alembic_version"]
        db.execute(sa.text("SET LOCAL session_replication_role = replica"))  # or triggers forbid it for what is only added to
        db.execute(sa.text(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE"))
    return database


@contextmanager
def on(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Database]:
    """An empty one, of ``sqlite`` in a folder or of ``postgresql``."""
    found = sqlite(folder / "node.sqlite") if kind == "sqlite" else emptied(request.getfixturevalue("shared_postgres"))
    yield found
    found.close()
