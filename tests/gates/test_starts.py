"""Processes that a node starts, and starts again whenever one dies, import no more than they need."""

import subprocess
import sys
from pathlib import Path

import pytest

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


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "script", sorted(str(path.relative_to(ROOT)) for folder in ("bench", "scripts") for path in (ROOT / folder).rglob("*.py"))
)
def test_a_script_that_no_test_runs_finds_all_that_it_imports(script: str) -> None:
    folder = (ROOT / script).parent
    code = (
        f"import runpy, sys\nsys.path.insert(0, {str(folder)!r})\nrunpy.run_path({str(ROOT / script)!r}, run_name='looked at')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
