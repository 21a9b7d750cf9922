"""Each import contract holds in the tree as it is, and fails in a copy that breaks it."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}

JOURNEY = "A study walks through the house front to back"
NETWORK = "No network and no database under the pipeline"
TORCH = "Only training imports torch"
ARRAYS = "Models see arrays"
LISTENERS = "What listens to the network loads no model"

#: (contract, file to which a line is added, the line)
BREAKS = [
    (JOURNEY, "series/stacks.py", "import pneumoscope.pipeline"),
    (JOURNEY, "errors.py", "import pneumoscope.records"),
    (JOURNEY, "stray.py", "'''A module without a place among the layers.'''"),
    (NETWORK, "intake/headers.py", "import httpx"),
    (NETWORK, "results/report.py", "from urllib.request import urlopen"),
    (NETWORK, "phantom/render.py", "import sqlite3"),
    (TORCH, "segmentation/network.py", "import torch"),
    (TORCH, "records.py", "import onnx"),
    (LISTENERS, "receiver/scp.py", "import pneumoscope.models"),
    (LISTENERS, "server/app.py", "import onnxruntime"),
    (ARRAYS, "findings.py", "import pydicom"),
    (ARRAYS, "models/__init__.py", "def f():\n    import highdicom"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.onnx", "__pycache__", "*.egg-info"))
    return tmp_path


def lint_imports(tree: Path) -> dict[str, bool]:
    """Whether each contract is kept."""
    tool = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [tool, "--no-cache"], cwd=tree, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    kept = {line.removesuffix(" KEPT"): True for line in lines if line.endswith(" KEPT")}
    kept |= {line.removesuffix(" BROKEN"): False for line in lines if line.endswith(" BROKEN")}
    assert (done.returncode == 0) == (bool(kept) and all(kept.values())), done.stdout + done.stderr
    return kept


def test_intact_tree_keeps_every_contract(tree: Path) -> None:
    assert lint_imports(tree) == dict.fromkeys(CONTRACTS, True)


@pytest.mark.parametrize(("contract", "file", "line"), BREAKS)
def test_broken_tree_is_found(tree: Path, contract: str, file: str, line: str) -> None:
    with (tree / "src/pneumoscope" / file).open("a") as module:
        module.write(f"\n{line}\n")
    assert lint_imports(tree)[contract] is False


def test_every_contract_is_broken_once() -> None:
    assert {contract for contract, _, _ in BREAKS} == set(CONTRACTS)


def test_torch_is_forbidden_everywhere_else() -> None:
    package = ROOT / "src/pneumoscope"
    modules = {f"pneumoscope.{p.stem}" for p in package.glob("*.py") if p.stem != "__init__"}
    modules |= {f"pneumoscope.{p.parent.name}" for p in package.glob("*/__init__.py")}
    assert set(CONTRACTS[TORCH]["source_modules"]) == modules - {"pneumoscope.training"}
