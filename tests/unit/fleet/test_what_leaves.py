"""The page that says what leaves a site says what the messages hold."""

import re
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from pneumoscope.fleet.messages import Policy, Report

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "fleet.md"


def models(kind: object, found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Messages within a type, with their fields."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ not in found:
        found[kind.__name__] = set(kind.model_fields)
        for inner in typing.get_type_hints(kind).values():
            models(inner, found)
    for inner in typing.get_args(kind):
        models(inner, found)
    return found


def test_every_field_is_listed() -> None:
    table = re.findall(
        r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text().split("## What leaves a site")[1].split("\n## ")[0], re.MULTILINE
    )
    assert {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in table} == models(Report, {})


@pytest.mark.parametrize("name", ["every_s", "window_s"])
@pytest.mark.parametrize("word", ["NaN", "Infinity"])
def test_no_message_holds_a_number_that_cannot_be_reckoned_with(name: str, word: str) -> None:
    """A pause of no number would end a member's reports for ever."""
    with pytest.raises(ValidationError):
        Policy.model_validate_json(f'{{"{name}": {word}}}')
