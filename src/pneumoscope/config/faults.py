"""Says of wrong settings what was found and what is allowed, in the words of the file that they stand in."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

#: What a value of a wrong kind is told that it should be.
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text in quotes",
    "bool": "true or false",
    "tuple": 'a list, such as ["..."]',
    "dict": "a table",
    "path": "a path in quotes",
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_LONGEST = 60  # characters of a value that are shown


def sentences(fault: ValidationError, root: type[BaseModel]) -> list[str]:
    """One for each wrong setting of ``root``. No value of a secret is in them."""
    return [_sentence(error, root) for error in fault.errors(include_url=False)]


@dataclass(kw_only=True)
class _Place:
    """Where a fault is: the tables on the way, what may stand there, and the field, where there is one of that name."""

    table: str = ""
    name: str = ""
    models: list[type[BaseModel]]  # of the tables that the name holds
    known: list[str]
    field: FieldInfo | None = None

    @property
    def title(self) -> str:
        """As the file writes it: `[dicom] port`, `[dicom.tls]`, `[[dicom.senders]] no. 2, addresses`."""
        name, _, number = self.name.partition(" no. ")
        if self.models and name:
            whole = f"{self.table}.{name}" if self.table else name
            return f"[[{whole}]] no. {number}" if number else f"[{whole}]"
        lists, _, which = self.table.rpartition(" no. ")
        if lists:
            return f"[[{lists}]] no. {which}, {self.name}"
        return f"[{self.table}] {self.name}" if self.table else self.name


def _sentence(error: ErrorDetails, root: type[BaseModel]) -> str:
    place = _walk(error["loc"], root)
    what = _unknown(place) if error["type"] == "extra_forbidden" else _wrong(error, place)
    return f"{place.title}: {what}" if place.title else what


def _walk(loc: Sequence[int | str], root: type[BaseModel]) -> _Place:
    place = _Place(models=[root], known=list(root.model_fields))
    for step in loc:
        if isinstance(step, int):
            place.name += f" no. {step + 1}"
            continue
        field = next((model.model_fields[step] for model in place.models if step in model.model_fields), None)
        tagged = [model for model in place.models if step in _kinds([model])]
        if field is None and tagged:  # which kind of destination it is, no name of the file
            place.models = tagged
            continue
        place = _Place(
            table=".".join(filter(None, (place.table, place.name))),
            name=step,
            models=_models(field.annotation) if field else [],
            known=list(dict.fromkeys(name for model in place.models for name in model.model_fields)),
            field=field or (place.field if not place.models else None),
        )
    return place


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _kinds(models: list[type[BaseModel]]) -> list[str]:
    fields = [model.model_fields["kind"] for model in models if "kind" in model.model_fields]
    return [kind for field in fields for kind in get_args(field.annotation)]


def _unknown(place: _Place) -> str:
    near = difflib.get_close_matches(place.name, place.known, n=1)
    return "no such setting; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(place.known)}")


def _wrong(error: ErrorDetails, place: _Place) -> str:
    kind, given = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "it must be given"
    if kind == "value_error":
        return str(given["error"])
    if kind.startswith("union_tag"):
        found = f"kind {_toml(given['tag'])} is not allowed; " if "tag" in given else ""
        return f"{found}kind must be one of {', '.join(map(_toml, _kinds(place.models)))}"
    if kind == "tuple_type" and place.models:
        return f"it must be a list of tables, each under [{place.title}]"
    if kind == "model_type":
        return f"it must be one table, under {place.title}"
    allowed = _allowed(kind, given)
    return f"{_found(error['input'], place.field)}{allowed}" if allowed else error["msg"][:1].lower() + error["msg"][1:]


def _allowed(kind: str, given: dict[str, Any]) -> str:
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"it must be {words} {given[key]}"
    if kind.startswith("string_too_"):
        key, words = ("max_length", "at most") if kind == "string_too_long" else ("min_length", "at least")
        return f"it must have {words} {given[key]} characters"
    if kind == "string_pattern_mismatch":
        return f"it must be of the form {given['pattern']}"
    if kind in ("literal_error", "enum"):
        return f"it must be {given['expected']}"
    return next((f"it must be {words}" for name, words in _KINDS.items() if kind.startswith(f"{name}_")), "")


def _found(value: object, field: FieldInfo | None) -> str:
    """The value with what joins it to what is allowed; nothing for what is secret, long, or a whole table."""
    tables = isinstance(value, dict | list | tuple)
    if tables or field is None or not field.repr or "@" in str(value) or len(str(value)) > _LONGEST:
        return ""
    return f"{_toml(value)} is not allowed; "


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
