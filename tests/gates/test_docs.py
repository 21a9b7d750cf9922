"""The documentation names what there is: links, commands, verbs, options, codes, keys."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from pneumoscope.cli import app
from pneumoscope.receiver.classes import STORED
from pneumoscope.results.document import build_document
from pneumoscope.series.rules import CT_CLASSES, DECODABLE, LOSSY_JPEG, RULES
from support import tiny_reading

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAGES = sorted([*ROOT.glob("[A-Z]*.md"), *(ROOT / "docs").rglob("*.md")])
REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """What GitHub makes of headings."""
    heads = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def links(text: str) -> Iterator[tuple[str, str]]:
    """(file, anchor) of each relative link."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            yield file, anchor


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    dead = []
    for file, anchor in links(path.read_text(encoding="utf-8")):
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            dead.append(f"{file}#{anchor}")
    assert dead == []


def test_every_page_is_linked() -> None:
    linked = {(path.parent / file).resolve() for path in PAGES for file, _ in links(path.read_text(encoding="utf-8"))}
    assert {path for path in (ROOT / "docs").rglob("*.md") if path.resolve() not in linked} == set()


def test_pictures_are_shown_and_small() -> None:
    shown = {(path.parent / file).resolve() for path in PAGES for file, _ in links(path.read_text(encoding="utf-8"))}
    pictures = {path.resolve() for path in (ROOT / "docs/images").iterdir()}
    assert pictures - shown == set()
    assert [path.name for path in sorted(pictures) if path.stat().st_size >= 250_000] == []


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in PAGES for name in re.findall(r"(?:`|^ {4,})make ([a-z]+)", path.read_text(), re.MULTILINE)}
    assert {"demo", "test", "check"} <= named <= targets
    assert targets == set(re.findall(r"make ([a-z]+)", (ROOT / "CONTRIBUTING.md").read_text())) & targets


def test_verbs_and_options_are_documented() -> None:
    command = typer.main.get_command(app)
    text = page("cli.md")
    for name, verb in command.commands.items():  # type: ignore[attr-defined]
        assert f"## {name}\n" in text
        section = text.split(f"## {name}\n")[1].split("\n## ")[0]
        for parameter in verb.params:
            for option in parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]:
                assert option == "--help" or option in section, f"{name} {option}"


def codes(*, of_notices: bool) -> set[str]:
    """String literals given as ``code=`` in calls, and ``default_code`` of errors."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                notice = getattr(node.func, "id", "") == "Notice"
                values = [keyword.value for keyword in node.keywords if keyword.arg == "code" and notice == of_notices]
            elif isinstance(node, ast.Assign | ast.AnnAssign) and not of_notices:
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                values = [node.value] if getattr(target, "id", "") == "default_code" else []
            else:
                continue
            found |= {value.value for value in values if isinstance(value, ast.Constant) and value.value}
    return found


def test_settings_are_documented() -> None:
    written = subprocess.run(
        [sys.executable, "-c", "import settings_page; print(settings_page.page(), end='')"],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    assert page("settings.md") == written.stdout, "scripts/settings_page.py writes it anew"


def test_the_dashboard_shows_what_is_measured() -> None:
    literals = {name for path in SOURCES for name in re.findall(r"\"(pneumoscope_[a-z_]+)\"", path.read_text(encoding="utf-8"))}
    shown = set(re.findall(r"pneumoscope_[a-z_]+", (ROOT / "deploy/grafana.json").read_text()))
    assert {name for name in shown if name.removesuffix("_bucket") not in literals} == set()


def test_errors_are_documented() -> None:
    known = codes(of_notices=False)
    assert {"input-not-found", "archive-bomb", "disk-full"} <= known
    assert {code for code in known if f"`{code}`" not in page("exit-codes.md")} == set()


def test_no_error_is_documented_that_is_not_raised() -> None:
    literals = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(re.findall(r"^\| `([a-z-]+)`", page("exit-codes.md"), re.MULTILINE)) <= literals


def test_notices_are_documented() -> None:
    table = page("codes.md").split("## Notices")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)) == codes(of_notices=True)


def test_series_rules_are_documented_in_their_order() -> None:
    table = page("codes.md").split("## What became of a series")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)
    assert documented == [*(rule.code for rule in RULES), "other-study", "not-best", "chosen"]


def test_conformance_statement_is_what_the_rules_say() -> None:
    text = (ROOT / "docs/conformance.md").read_text().split("## What it writes")[0]
    others, ours = text.split("## What it reads")
    table = re.compile(r"\| (1\.2\.840\.10008\.[\d.]+) \|")
    assert set(table.findall(ours)) == set(DECODABLE) | set(CT_CLASSES)
    assert set(table.findall(others)) == set(STORED)
    assert {uid for uid in LOSSY_JPEG if uid not in text} == set()


def test_keys_of_the_document_are_documented() -> None:
    document = json.loads(build_document(tiny_reading()).content)
    keys = set(document)
    for part in (*document["findings"], *document["key_slices"], document["slices"], document["volume"], document["model"]):
        keys |= set(part)
    text = page("outputs.md")
    assert {key for key in keys if f"`{key}`" not in text} == set()
