"""From scored cases to the whole assessment: one document for machines, from which the page for eyes is drawn."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope import __version__
from pneumoscope.evaluation import metrics
from pneumoscope.evaluation.fingerprints import FILE_NAME, duplicates, seen, unpack
from pneumoscope.evaluation.labels import Case
from pneumoscope.evaluation.metrics import Sample
from pneumoscope.evaluation.scoring import Outcome
from pneumoscope.models import Bundle, Calibration
from pneumoscope.records import Category

SCHEMA_VERSION = 1
Document = dict[str, Any]
CATEGORIES = (*(category.value for category in Category), "failed")
#: More values than this and a column is no subgroup, but a number or a name.
MAX_VALUES = 30


def assess_cases(
    cases: Sequence[Case], outcomes: Sequence[Outcome], bundle: Bundle, *, prevalences: tuple[float, ...]
) -> Document:
    """The assessment, ready for JSON; see docs/reference/evaluation.md for its keys."""
    calibration = bundle.calibration
    scored = np.array([outcome.score is not None for outcome in outcomes])
    score = np.array([np.nan if outcome.score is None else outcome.score for outcome in outcomes])
    label = np.array([int(case.positive) for case in cases], dtype=np.int64)
    everyone = Sample(score=score, label=label, patient=np.array([case.patient for case in cases]))
    answered = everyone.of(scored)
    known = bundle.files.get(FILE_NAME)
    training = unpack(known) if known else np.empty((0, 32), dtype=np.uint8)
    in_training = seen([outcome.fingerprints for outcome in outcomes], training)
    pairs = duplicates([outcome.fingerprints for outcome in outcomes])
    repeated = np.zeros(len(cases), dtype=bool)
    repeated[[later for _, later in pairs]] = True
    document: Document = {
        "schema_version": SCHEMA_VERSION,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "pneumoscope": __version__,
        "model": {"name": bundle.model.name, "version": bundle.model.version, "sha256": bundle.model.sha256},
        "cases": {**everyone.counts, "scored": int(scored.sum()), "kinds": dict(Counter(o.kind for o in outcomes))},
        "failed": _failures(outcomes),
        "cannot_say": int(sum(outcome.category == Category.CANNOT_SAY.value for outcome in outcomes)),
        "confusion": _confusion(cases, outcomes),
        "seconds": _seconds(outcomes),
        "leakage": {
            "checked": known is not None,
            "in_training": [case.name for case, found in zip(cases, in_training, strict=True) if found],
            "duplicates": [[cases[a].name, cases[b].name] for a, b in pairs],
            "conflicting": [[cases[a].name, cases[b].name] for a, b in pairs if cases[a].positive != cases[b].positive],
        },
    }
    if len(answered.label):
        uses = {name: _for_each(outcomes, limits) for name, limits in thresholds(calibration).items()}
        document["thresholds"] = thresholds(calibration)
        document["auc"] = metrics.discrimination(answered)
        document["operating_points"] = {
            name: metrics.at_threshold(answered, threshold[scored], prevalences) for name, threshold in uses.items()
        }
        document["unanswered_as_wrong"] = {name: _strict(everyone, scored, threshold) for name, threshold in uses.items()}
        document["calibration"] = metrics.calibration(answered)
        document["roc"] = metrics.roc(answered) if 0 < answered.label.sum() < len(answered.label) else None
        document["histogram"] = [
            [int(n) for n in np.histogram(answered.score[answered.label == value], bins=20, range=(0, 1))[0]]
            for value in (0, 1)
        ]
        clean = scored & ~in_training & ~repeated
        document["without_leaked_and_repeated"] = _short(everyone.of(clean))
        document["subgroups"] = _subgroups(cases, everyone, scored, uses["triage"])
    return document


def thresholds(calibration: Calibration) -> dict[str, dict[str, float]]:
    """The score from which a case counts as positive, by use and by kind of case."""
    return {
        "rule_out": {"study": calibration.no_sign_below, "picture": calibration.slice_no_sign_below},
        "triage": {"study": calibration.sign_from, "picture": calibration.slice_sign_from},
        "even": {"study": 0.5, "picture": 0.5},
    }


def _for_each(outcomes: Sequence[Outcome], limits: dict[str, float]) -> NDArray[np.float64]:
    return np.array([limits[outcome.kind] for outcome in outcomes])


def _strict(everyone: Sample, scored: NDArray[np.bool_], threshold: NDArray[np.float64]) -> Document:
    """With a case that got no score counted as wrongly answered, whatever its label."""
    flagged, sick = np.nan_to_num(everyone.score, nan=-1.0) >= threshold, everyone.label == 1
    right = scored & (flagged == sick)
    return {
        "sensitivity": metrics.estimate(lambda w: metrics.share(right, sick, w), everyone),
        "specificity": metrics.estimate(lambda w: metrics.share(right, ~sick, w), everyone),
    }


def _short(sample: Sample) -> Document:
    return {**sample.counts, "auc": metrics.discrimination(sample) if len(sample.label) else None}


def _failures(outcomes: Sequence[Outcome]) -> list[Document]:
    found: dict[str, Document] = {}
    for outcome in outcomes:
        if outcome.code:
            row = found.setdefault(outcome.code, {"code": outcome.code, "n": 0, "example": outcome.message})
            row["n"] += 1
    return sorted(found.values(), key=lambda row: -row["n"])


def _confusion(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Document:
    counts = Counter((case.positive, outcome.category or "failed") for case, outcome in zip(cases, outcomes, strict=True))
    return {name: {c: counts[positive, c] for c in CATEGORIES} for name, positive in (("positive", True), ("negative", False))}


def _seconds(outcomes: Sequence[Outcome]) -> Document:
    spent = [outcome.seconds for outcome in outcomes]
    return {"median": round(float(np.median(spent)), 3), "slowest": round(max(spent), 3)}


def _subgroups(
    cases: Sequence[Case], everyone: Sample, scored: NDArray[np.bool_], threshold: NDArray[np.float64]
) -> list[Document]:
    columns: dict[str, None] = {}
    for case in cases:
        columns.update(dict.fromkeys(case.subgroups))
    rows = []
    for column in columns:
        values = [case.subgroups.get(column, "not given") for case in cases]
        if len(set(values)) > MAX_VALUES:
            continue
        for value in sorted(set(values)):
            members = np.array([v == value for v in values])
            sample = everyone.of(members & scored)
            row: Document = {"column": column, "value": value, **sample.counts, "not_scored": int((members & ~scored).sum())}
            row["too_small"] = row["patients"] < metrics.MIN_PATIENTS
            if not row["too_small"]:
                row["auc"] = metrics.discrimination(sample)
                point = metrics.at_threshold(sample, threshold[members & scored], ())
                row["sensitivity"], row["specificity"] = point["sensitivity"], point["specificity"]
            rows.append(row)
    return rows


def scores_csv(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> str:
    """One line for each case, for those who want to calculate themselves."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["path", "label", "score", "category", "lesion_share", "code", "seconds"])
    for case, outcome in zip(cases, outcomes, strict=True):
        score, share = ("" if value is None else f"{value:.4f}" for value in (outcome.score, outcome.share))
        name = case.name if case.name[:1] not in "=+-@" else f"'{case.name}"  # no spreadsheet may take it for a formula
        writer.writerow([name, int(case.positive), score, outcome.category or "failed", share, outcome.code, outcome.seconds])
    return stream.getvalue()
