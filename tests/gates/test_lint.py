"""The linter and the type checker look at our files, and say no to bad ones."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "pyproject.toml"


def tool(name: str, *arguments: object) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        ("F401", '"""A."""\n\nimport os\n'),
        ("T201", '"""A."""\n\nprint("to stdout")\n'),
        ("BLE001", '"""A."""\n\ntry:\n    x = 1\nexcept Exception:\n    x = 2\n'),
        ("ANN201", '"""A."""\n\n\ndef f():\n    """One."""\n    return 1\n'),
        ("D100", "x = 1\n"),
    ],
)
def test_linter_refuses(tmp_path: Path, rule: str, source: str) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(source)
    status, said = tool("ruff", "check", "--no-cache", "--config", CONFIG, bad)
    assert status == 1
    assert rule in said


def test_formatter_refuses(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("x = {  'a':1 }\n")
    status, _ = tool("ruff", "format", "--check", "--no-cache", "--config", CONFIG, bad)
    assert status == 1


@pytest.mark.parametrize("folder", ["src/pneumoscope", "tests", "bench"])
def test_linter_sees_every_file(folder: str) -> None:
    _, said = tool("ruff", "check", "--show-files", ".")
    seen = set(said.splitlines())
    assert {str(path) for path in (ROOT / folder).rglob("*.py")} <= seen


@pytest.mark.parametrize(
    ("complaint", "source"),
    [
        ("[no-untyped-def]", "def f(x):\n    return x\n"),
        ("[return-value]", "def f(x: int) -> str:\n    return x\n"),
        ("[type-arg]", "def f(x: list) -> None: ...\n"),
    ],
)
def test_type_checker_refuses(tmp_path: Path, complaint: str, source: str) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(source)
    status, said = tool("mypy", "--config-file", CONFIG, "--cache-dir", tmp_path / "cache", bad)
    assert status == 1
    assert complaint in said
