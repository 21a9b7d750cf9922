"""Answers of people as data for whoever makes the model: a table of all answers, or labels that ``evaluate`` takes."""

import csv
import hashlib
import hmac
import io
import json
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.records import Category, Judgement
from pneumoscope.store import Database, reviews

KEY_FILE = "pseudonyms.key"
COLUMNS = (
    *("answer", "study", "reading", "version", "model", "device_uid", "score", "category", "site", "reader", "at"),
    *("judgement", "reason", "corrected_category", "zones_added", "zones_removed", "current"),
)
LABEL_COLUMNS = ("path", "label", "patient", "site", "model")
#: Only these say whether the pattern is there.
_LABELS = {Category.SIGN: 1, Category.NO_SIGN: 0}
Rows = Sequence[sa.RowMapping]


def export(settings: Settings, out: Path, *, identified: bool, labels: bool) -> int:
    """Write all answers, or labels, as CSV or, by the name of ``out``, as JSON lines; returns how many rows.

    Unless ``identified``, study UIDs and readers get pseudonyms, the same ones in every export of this node, and what was said
    in words is left out, since it could name a patient. Raises OperatorNeeded.
    """
    database = Database(settings.database_url)
    database.migrate()
    try:
        with database.look() as db:
            every, current = reviews.all_of(db, current=False), reviews.all_of(db)
    finally:
        database.close()
    named = _plain if identified else _pseudonyms(settings.node.folder)
    found = label_rows(current, named) if labels else answer_rows(every, {row["id"] for row in current}, named)
    if identified and not labels:
        found = [row | {"text": given["text"]} for row, given in zip(found, every, strict=True)]
    columns = LABEL_COLUMNS if labels else (*COLUMNS, "text") if identified else COLUMNS
    _write(out, _as_lines(found) if out.suffix == ".jsonl" else _as_csv(found, columns))
    return len(found)


def answer_rows(rows: Rows, current: set[str], named: Callable[[str, str], str]) -> list[dict[str, Any]]:
    """One row for each answer; ``named`` gives the name of a study or a reader."""
    return [
        {
            "answer": row["id"],
            "study": named("study", row["StudyInstanceUID"]),
            "reading": row["reading_id"],
            "version": row["version"],
            "model": row["model"],
            "device_uid": row["device_uid"],
            "score": row["probability"],
            "category": row["found_category"],
            "site": row["site"],
            "reader": named("reader", row["reader"]),
            "at": row["at"].isoformat(),
            "judgement": row["judgement"],
            "reason": row["objection"],
            "corrected_category": row["category"],
            "zones_added": row["added"],
            "zones_removed": row["removed"],
            "current": row["id"] in current,
        }
        for row in rows
    ]


def label_rows(rows: Rows, named: Callable[[str, str], str]) -> list[dict[str, Any]]:
    """One row for each study of whose last answered version every reader says the same, and whether the pattern is there.

    ``rows``: current answers. A rejected reading has no label, nor has one that is indeterminate or whose readers disagree.
    """
    by_study: dict[str, list[sa.RowMapping]] = {}
    for row in rows:
        by_study.setdefault(row["StudyInstanceUID"], []).append(row)
    found = []
    for study, answers in by_study.items():
        version = max(row["version"] for row in answers)
        last = [row for row in answers if row["version"] == version]
        said = {_label(row) for row in last}
        if len(said) == 1 and (label := said.pop()) is not None:
            name = named("study", study)
            values = (name, label, name, last[0]["site"], last[0]["model"])
            found.append(dict(zip(LABEL_COLUMNS, values, strict=True)))
    return found


def _label(row: sa.RowMapping) -> int | None:
    if row["judgement"] == Judgement.REJECT:
        return None
    return _LABELS.get(Category(row["category"] or row["found_category"]))


def _plain(_kind: str, name: str) -> str:
    return name


def _pseudonyms(folder: Path) -> Callable[[str, str], str]:
    key = _key(folder / KEY_FILE)

    def named(kind: str, name: str) -> str:
        digest = hmac.digest(key, f"{kind} {name}".encode(), hashlib.sha256)
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}" if kind == "study" else f"{kind}-{digest.hex()[:12]}"

    return named


def _key(file: Path) -> bytes:
    """The secret without which nobody can tell whom a pseudonym is of; made once."""
    try:
        if not file.exists():
            partial = file.with_name(f".{file.name}-{uuid.uuid4().hex}")
            partial.touch(mode=0o600, exist_ok=False)
            partial.write_bytes(os.urandom(32))
            try:
                os.link(partial, file)  # never over another's
            except FileExistsError:
                pass
            finally:
                partial.unlink()
        return file.read_bytes()
    except OSError as fault:
        raise OperatorNeeded(
            "The key of the pseudonyms in the node's folder cannot be made or read.", code="store-unwritable"
        ) from fault


def _as_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _as_csv(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return buffer.getvalue()


def _cell(value: object) -> object:
    """As a spreadsheet may have it: no list, and no text that it would take for a formula."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list):
        return " ".join(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _write(out: Path, text: str) -> None:
    partial = out.with_name(f".{out.name}-{uuid.uuid4().hex}")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(out)
    except OSError as fault:
        partial.unlink(missing_ok=True)
        raise OperatorNeeded("The file for the answers cannot be written.", code="output-failed") from fault
