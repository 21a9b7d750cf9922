"""Every text of the pages has its translation in every language, and no placeholder is lost in it."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from babel.messages.catalog import Message

from pneumoscope.server.language import ENGLISH, LANGUAGES

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import catalogues  # noqa: E402

OTHERS = [language for language in LANGUAGES.values() if language != ENGLISH]
PLACEHOLDER = re.compile(r"%\([a-z_]+\)s|%%|\{[A-Za-z_]+\}")


def faults(message: Message) -> list[str]:
    ids = message.id if isinstance(message.id, tuple) else (message.id,)
    strings = message.string if isinstance(message.string, tuple) else (message.string,)
    wanted = [sorted(PLACEHOLDER.findall(text)) for text in ids]
    if not all(strings) or "fuzzy" in message.flags:
        return [f"not translated: {ids[0]}"]
    return [f"placeholders differ: {text}" for text in strings if sorted(PLACEHOLDER.findall(text)) not in wanted]


@pytest.fixture(scope="module")
def texts() -> dict[object, Message]:
    return {message.id: message for message in catalogues.texts() if message.id}


def test_texts_are_found(texts: dict[object, Message]) -> None:
    assert {"Studies", "mostly ground-glass", "Light"} <= set(texts)


@pytest.mark.parametrize("language", OTHERS, ids=lambda language: language.tag)
def test_each_language_says_everything(language, texts: dict[object, Message]) -> None:
    found = {message.id: message for message in catalogues.read(language.locale) if message.id}
    assert set(texts) - set(found) == set(), "scripts/catalogues.py adds them"
    assert set(found) - set(texts) == set(), "scripts/catalogues.py takes them out"
    assert [fault for message in found.values() for fault in faults(message)] == []


@pytest.mark.parametrize(
    ("text", "translation"), [("%(share)s of it", "davon"), ("5 %%", "5 %"), ("word", ""), (("a %(n)s", "b %(n)s"), ("c",))]
)
def test_a_bad_translation_is_found(text: object, translation: object) -> None:
    assert faults(Message(text, string=translation))


TEXT = re.compile(r">[^<>{}]*[A-Za-z]{3,}[^<>{}]*<")
ATTRIBUTE = re.compile(r'(?:aria-label|alt|placeholder|title)="[^"]*[A-Za-z]{3,}')
#: Not words of a language.
SAME = {"Pneumoscope", "JSON", "QIDO-RS", "UID", "Enter", "Esc", "FHIR AuditEvent", "pneumoscope viewer"}


@pytest.mark.parametrize("path", sorted((catalogues.SERVER / "templates").glob("*.html")), ids=lambda path: path.name)
def test_no_template_speaks_english_alone(path: Path) -> None:
    source = re.sub(r"\{#.*?#\}|\{% ?trans\b.*?endtrans %\}|\{\{.*?\}\}|\{%.*?%\}", "", path.read_text(), flags=re.DOTALL)
    source = re.sub(r"<title>.*?</title>", "", source)
    assert {text.strip("<> \n") for text in TEXT.findall(source)} - SAME == set()
    assert ATTRIBUTE.findall(source) == []


def test_a_wheel_has_the_catalogues() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "**/*.po" in project["tool"]["setuptools"]["package-data"]["pneumoscope"]
