"""What the fleet reported, as data: a table of sites and days, and FHIR R4 MeasureReports of provinces."""

import csv
import io
import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pneumoscope.errors import OperatorNeeded
from pneumoscope.fleet.shares import Share, Span
from pneumoscope.store import Database, fleet_figures, now
from pneumoscope.store.fleet_figures import NAMES, Figures

#: Ours, which is published nowhere: studies of a chest CT that were read, and those with signs of COVID-19 pneumonia.
MEASURE = "urn:uuid:5b1a0c8e-58d5-4f0a-9a67-0e6f5d0a3c11"
#: Ours, a Range: the two ends of a count that is not told.
_RANGE = "urn:uuid:c3c6f8de-3f0e-4a0a-8f6e-4e0a1b7d2f52"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_POPULATION = "http://terminology.hl7.org/CodeSystem/measure-population"
#: Ids of reports follow from what they are of, so that the same one is the same everywhere.
_SPACE = uuid.UUID("0f6f0f9e-3d0c-5d6c-9d3c-6f2f6c9f7a41")
COLUMNS = (
    "province",
    "site",
    "day",
    "model",
    "role",
    "mode",
    *(f"{name}{end}" for name in NAMES for end in ("_least", "_most")),
)


def since_day(days: int, *, moment: datetime | None = None) -> str:
    """The first of so many days until today, UTC."""
    return ((moment or now()).astimezone(UTC).date() - timedelta(days=days - 1)).isoformat()


def csv_lines(db: sa.Connection, *, since: str) -> Iterator[str]:
    """A head, and a line for each site, day and model; a hidden count has two ends."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in fleet_figures.by_site_and_day(db, since=since):
        keys = [_plain(row[name]) for name in ("province", "title", "day", "model", "role", "mode")]
        writer.writerow([*keys, *(row[name + end] for name in NAMES for end in ("", "_most")), row["untold"]])
        if buffer.tell() > 65_536:
            yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _plain(text: str) -> str:
    """No formula, whatever a spreadsheet takes for one."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def measure_reports(db: sa.Connection, *, since: str, until: date, reporter: str) -> dict[str, Any]:
    """A FHIR R4 Bundle of one summary MeasureReport for each province."""
    moment = now()
    provinces = fleet_figures.by_province(db, since=since)
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": moment.isoformat(timespec="seconds"),
        "entry": [
            _entry(_report(name, figures, since=since, until=until, moment=moment, reporter=reporter))
            for name, figures in sorted(provinces.items())
        ],
    }


def _entry(report: dict[str, Any]) -> dict[str, Any]:
    return {"fullUrl": f"urn:uuid:{report['id']}", "resource": report}


def _report(province: str, figures: Figures, *, since: str, until: date, moment: datetime, reporter: str) -> dict[str, Any]:
    populations = (
        ("initial-population", "Studies", figures.studies),
        ("denominator", "Studies that were read", figures.read),
        ("numerator", "Studies with signs of COVID-19 pneumonia", figures.sign),
    )
    strata = (
        ("sign", figures.sign),
        ("indeterminate", figures.indeterminate),
        ("no-sign", figures.no_sign),
        ("cannot-say", figures.cannot_say),
    )
    group: dict[str, Any] = {
        "population": [{"code": _coded(code, text), **_count(span)} for code, text, span in populations],
        "stratifier": [{"code": [{"text": "category"}], "stratum": [_stratum(name, span) for name, span in strata]}],
    }
    if (score := _score(figures.positive)) is not None:
        group["measureScore"] = score
    return {
        "resourceType": "MeasureReport",
        "id": str(uuid.uuid5(_SPACE, f"{province}/{since}/{until}")),
        "status": "complete",
        "type": "summary",
        "measure": MEASURE,
        "subject": {"type": "Location", "display": province},
        "date": moment.isoformat(timespec="seconds"),
        "reporter": {"display": reporter},
        "period": {"start": since, "end": until.isoformat()},
        "group": [group],
    }


def _coded(code: str, text: str) -> dict[str, Any]:
    return {"coding": [{"system": _POPULATION, "code": code}], "text": text}


def _stratum(name: str, span: Span) -> dict[str, Any]:
    return {"value": {"text": name}, "population": [{"code": _coded("numerator", name), **_count(span)}]}


def _count(span: Span) -> dict[str, Any]:
    """A count, or where sites hid small ones, its two ends and that it is masked."""
    if span.least == span.most:
        return {"count": span.least}
    return {
        "extension": [{"url": _RANGE, "valueRange": {"low": {"value": span.least}, "high": {"value": span.most}}}],
        "_count": {"extension": [{"url": _ABSENT, "valueCode": "masked"}]},
    }


def _score(share: Share) -> dict[str, Any] | None:
    return None if share.value is None else {"value": round(share.value, 4)}


def write(database: Database, out: Path, *, days: int, reporter: str) -> None:
    """Write ``out`` as its name ends, .csv or .json, whole or not at all. Raises OperatorNeeded."""
    since = since_day(days)
    with database.look() as db:
        if out.suffix == ".csv":
            content = "".join(csv_lines(db, since=since))
        else:
            content = json.dumps(measure_reports(db, since=since, until=now().date(), reporter=reporter), indent=2)
    partial = out.with_name(f".partial-{out.name}")
    try:
        partial.write_text(content, encoding="utf-8")
        partial.replace(out)
    except OSError as fault:
        reason = os.strerror(fault.errno) if fault.errno else "unknown reason"
        raise OperatorNeeded(f"The export cannot be written: {reason}.", code="output-failed") from fault
