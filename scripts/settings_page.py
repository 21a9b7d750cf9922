"""Writes docs/reference/settings.md from the settings themselves; a test proves that the page is what this writes."""

import sys
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pneumoscope import config

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
HEAD = """# Settings

One TOML file, named by `--config` or by `PNEUMOSCOPE_CONFIG`; every setting can also come from the environment, which goes
first: `PNEUMOSCOPE_DICOM__PORT=104` is `port` under `[dicom]`, with two underscores between. Without any, the node runs on
SQLite and a local folder and takes studies from its own machine. `pneumoscope check` tells what is wrong with them.
See [how to run a node](../how-to/run-a-node.md).

This page is written by `scripts/settings_page.py`.
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, field in config.Settings.model_fields.items():
        for model, head in sections(name, field):
            parts.append(f"## `{head}`\n\n{(model.__doc__ or '').strip()}\n\n{table(model)}")
    return "\n".join(parts)


def sections(name: str, field: FieldInfo) -> list[tuple[type[BaseModel], str]]:
    """Each model under a setting, and how it is written in TOML."""
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return [(field.annotation, f"[{name}]"), *nested(field.annotation, name)]
    return [(model, title) for model in models(field.annotation) for title in [many(name, model)]]


def nested(model: type[BaseModel], name: str) -> list[tuple[type[BaseModel], str]]:
    found = []
    for key, field in model.model_fields.items():
        for inner in models(field.annotation):
            lists = "tuple" in str(field.annotation)
            found.append((inner, f"[[{name}.{key}]]" if lists else f"[{name}.{key}]"))
    return found


def many(name: str, model: type[BaseModel]) -> str:
    kind = model.model_fields.get("kind")
    return f"[[{name}]]" + (f" kind = {typing.get_args(kind.annotation)[0]}" if kind else "")


def models(annotation: object) -> list[type[BaseModel]]:
    """Models within a type, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models(part)]


def table(model: type[BaseModel]) -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for key, field in model.model_fields.items():
        if models(field.annotation) and key != "tls":
            continue
        rows.append(f"| `{key}` | {default(field)} | {meaning(key, field)} |")
    return "\n".join(rows) + "\n"


def default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    value = field.default
    if isinstance(value, BaseModel):
        return "none"
    if value in ("", None, (), {}):
        return "empty"
    return f"`{toml(value)}`"


def toml(value: object) -> str:
    """A default as the file would have it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def meaning(key: str, field: FieldInfo) -> str:
    if key == "kind":
        return "Which kind of destination."
    return field.description or "As `[dicom.tls]`."


if __name__ == "__main__":
    sys.exit(main())
