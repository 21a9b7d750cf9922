"""Processes that a node starts, and starts again whenever one dies, import no more than they need."""

import subprocess
import sys
from pathlib import Path

import databases


def imported(code: str, *names: str) -> list[str]:
    """Which of ``names`` a fresh interpreter has imported once it has run ``code``."""
    script = f"import sys\n{code}\nprint(*[name for name in {names} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()


def test_the_child_that_examines_files_knows_no_database() -> None:
    names = ("pydicom", "SimpleITK", "alembic", "pydantic", "sqlalchemy", "structlog")
    assert imported("import pneumoscope.filing.child", *names) == ["pydicom"]


def test_a_process_that_finds_the_newest_schema_loads_no_migrations(tmp_path: Path) -> None:
    databases.sqlite(tmp_path / "node.sqlite").close()
    code = f"from pneumoscope.store import Database\nDatabase('sqlite:///{tmp_path / 'node.sqlite'}').migrate()"
    assert imported(code, "sqlalchemy", "alembic") == ["sqlalchemy"]
    (tmp_path / "node.sqlite").unlink()
    assert imported(code, "sqlalchemy", "alembic") == ["sqlalchemy", "alembic"]
