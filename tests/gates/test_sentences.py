"""Every sentence that a stage keeps of a study is known to the pages, and every one that they know is kept by some module."""

import ast
import errno
import os
import re
from pathlib import Path

import pytest

from pneumoscope.server.language.sentences import FINDINGS, SENTENCES, SYSTEM

PACKAGE = Path(__file__).parents[2] / "src/pneumoscope"
DELIVERY = sorted(str(path.relative_to(PACKAGE)) for path in (PACKAGE / "delivery").glob("*.py"))
STAGES = ("series/__init__.py", "series/rules.py", "volume.py", "classification/guard.py", *DELIVERY)
STAGES += ("worker/posting.py", "worker/assessing.py", "store/outbox.py", "output.py")
#: Strings of three words or more that no page shows.
NOT_SHOWN = {
    "JPEG 2000 Lossless",
    "JPEG Lossless, first-order",
    "High-Throughput JPEG 2000",
    "High-Throughput JPEG 2000 Lossless",
    "High-Throughput JPEG 2000 Lossless, RPCL",
    "plain, big endian",
    "no stack is eligible",
    "the rule no-position comes first",
    "the series rules ask for both",
    "it has the object already",
    "stored with a warning",
    "--{}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
    'multipart/related; type="{}"; boundary={}',
    "A delivery was tried",
    "A delivery met a fault of ours",
    "An answer was made into an object",
    "No object could be made of an answer",
}
#: Functions whose words an operator is told by ``pneumoscope check``.
FOR_OPERATORS = {"probe"}
KNOWN = {re.sub(r"%\(\w+\)s", "{}", text) for text in SENTENCES}


def strings(source: str) -> set[str]:
    """Those of a module but its docstrings, with ``{}`` for each value in them."""
    tree = ast.parse(source)
    passed_over: set[int] = set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in FOR_OPERATORS:
            passed_over.update(id(inner) for inner in ast.walk(node))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed_over.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            for part in node.values:
                passed_over.add(id(part))
                if isinstance(part, ast.FormattedValue) and part.format_spec:
                    passed_over.update(id(inner) for inner in ast.walk(part.format_spec))
            if id(node) not in passed_over:
                found.add("".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed_over:
            found.add(node.value)
    return found


def unknown(source: str) -> set[str]:
    """Sentences and phrases of a stage that pages would show in English."""
    return {text for text in strings(source) if text.count(" ") > 1} - KNOWN - NOT_SHOWN


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_keeps_is_known(stage: str) -> None:
    assert unknown((PACKAGE / stage).read_text()) == set()


def test_what_is_known_is_kept_somewhere() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "language"]
    kept = set().union(*(strings(path.read_text()) for path in modules))
    assert {re.sub(r"%\(\w+\)s", "{}", text) for text in set(SENTENCES) - {*FINDINGS, *SYSTEM}} - kept == set()


def test_the_systems_words_are_the_systems() -> None:
    assert {os.strerror(number) for number in errno.errorcode} >= set(SYSTEM)


def test_a_new_sentence_is_found() -> None:
    source = (PACKAGE / "volume.py").read_text().replace("could not be decoded", "were not decoded")
    assert unknown(source) == {"{} of {} slices were not decoded and are left out; volumes bridge the gap."}
