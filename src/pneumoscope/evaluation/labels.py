"""The list of labelled cases: a CSV file, checked line by line before anything is read."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pneumoscope.errors import Rejected

POSITIVE_WORDS = frozenset({"1", "covid", "covid-19", "pos", "positive", "sick", "true", "yes"})
NEGATIVE_WORDS = frozenset({"0", "false", "healthy", "neg", "negative", "no", "noncovid", "non-covid", "normal"})
#: Years at which bands of age begin.
AGE_BANDS = (0, 18, 40, 60, 75)


class BadLabels(Rejected):
    """The list of cases is not as it must be."""

    default_code = "bad-labels"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row. ``name``: the path as it was written; ``subgroups``: value by column, empty values left out."""

    name: str
    path: Path
    positive: bool
    patient: str
    subgroups: Mapping[str, str]


def read_labels(file: Path, *, positive: tuple[str, ...] = ()) -> list[Case]:
    """Read and check the list; ``positive``: words for label 1 instead of the usual ones, all others being label 0.

    Raises BadLabels with the line, what was found and what is allowed.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restkey="", strict=True)
            heads = [(name or "").strip().lower() for name in reader.fieldnames or ()]
            rows = [(reader.line_num, dict(zip(heads, row.values(), strict=False))) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise BadLabels(
            "The list of cases cannot be read; allowed is a CSV file in UTF-8 with a line of column names."
        ) from fault
    if missing := {"path", "label"} - set(heads):
        raise BadLabels(f"The list of cases lacks the column {' and '.join(sorted(missing))}; path and label are needed.")
    if len(set(heads)) < len(heads):
        raise BadLabels("The list of cases has two columns of the same name.")
    if not rows:
        raise BadLabels("The list of cases has no rows.")
    cases = [_case(row, line=line, folder=file.parent, positive=positive) for line, row in rows]
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        twice = next(k for k, name in enumerate(names) if name in names[:k])
        raise BadLabels(f"Line {rows[twice][0]} names a path that an earlier line names too; each case may stand once.")
    return cases


def _case(row: Mapping[str, str | None], *, line: int, folder: Path, positive: tuple[str, ...]) -> Case:
    value = {key: (text or "").strip() for key, text in row.items() if isinstance(text, str) or text is None}
    if not value["path"]:
        raise BadLabels(f"Line {line} has no path.")
    subgroups = {key: text for key, text in value.items() if key not in ("", "path", "label", "patient", "age") and text}
    if value.get("age"):
        subgroups["age"] = _band(value["age"], line=line)
    return Case(
        name=value["path"],
        path=folder / value["path"],
        positive=_label(value["label"], line=line, positive=positive),
        patient=value.get("patient") or f"row of line {line}",
        subgroups=subgroups,
    )


def _label(text: str, *, line: int, positive: tuple[str, ...]) -> bool:
    word = text.lower()
    if positive:
        if not word:
            raise BadLabels(f"Line {line} has no label.")
        return word in {given.lower() for given in positive}
    if word in POSITIVE_WORDS:
        return True
    if word in NEGATIVE_WORDS:
        return False
    raise BadLabels(
        f"Line {line} has the label {text[:30]!r}; allowed are {', '.join(sorted(POSITIVE_WORDS))} and "
        f"{', '.join(sorted(NEGATIVE_WORDS))}, or name the positive ones by --positive."
    )


def _band(text: str, *, line: int) -> str:
    digits = text.removesuffix("Y").removesuffix("y")
    try:
        age_years = float(digits)
    except ValueError:
        age_years = -1
    if not 0 <= age_years <= 130:
        raise BadLabels(f"Line {line} has the age {text[:30]!r}; allowed are years from 0 to 130, or nothing.")
    start = max(band for band in AGE_BANDS if age_years >= band)
    later = [band for band in AGE_BANDS if band > start]
    return f"{start} to {later[0] - 1}" if later else f"{start} and over"
