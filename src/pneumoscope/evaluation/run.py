"""A list of labelled cases to a folder with its assessment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from pneumoscope.errors import OperatorNeeded
from pneumoscope.evaluation.assessment import assess_cases, scores_csv
from pneumoscope.evaluation.labels import read_labels
from pneumoscope.evaluation.page import build_page, interval
from pneumoscope.evaluation.scoring import STORE_NAME, default_processes, score_cases
from pneumoscope.models import Bundle

DOCUMENT_NAME, PAGE_NAME, SCORES_NAME = "assessment.json", "assessment.html", "scores.csv"
OURS = frozenset({DOCUMENT_NAME, PAGE_NAME, SCORES_NAME, STORE_NAME})


def evaluate_labels(  # noqa: PLR0913 - the options of the verb
    labels: Path,
    bundle: Bundle,
    out: Path,
    *,
    positive: tuple[str, ...] = (),
    prevalences: tuple[float, ...] = (0.05, 0.2, 0.5),
    processes: int | None = None,
    fresh: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Score and assess the cases of ``labels``, write everything into ``out``, and return the document.

    Raises BadLabels, or OperatorNeeded where ``out`` may not be used or written.
    """
    cases = read_labels(labels, positive=positive)
    _prepare(out)
    store = out / STORE_NAME
    if fresh:
        store.unlink(missing_ok=True)
    outcomes = score_cases(cases, bundle, store, processes=processes or default_processes(), progress=progress)
    document = assess_cases(cases, outcomes, bundle, prevalences=prevalences)
    try:
        (out / SCORES_NAME).write_text(scores_csv(cases, outcomes), encoding="utf-8")
        (out / DOCUMENT_NAME).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (out / PAGE_NAME).write_bytes(build_page(document))
    except OSError as fault:
        raise OperatorNeeded("The assessment cannot be written; is the disk full?", code="output-failed") from fault
    return document


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        others = {path.name for path in out.iterdir()} - OURS
    except OSError as fault:
        raise OperatorNeeded(
            "The output path cannot be used; a folder that may be written is needed.", code="output-failed"
        ) from fault
    if others:
        raise OperatorNeeded(
            "The output folder holds other files; a new or empty folder, or one with an earlier assessment, is needed.",
            code="output-not-empty",
        )


def print_assessment(document: dict[str, Any], out: Path) -> None:
    """The outcome in a few lines."""
    console = Console(highlight=False, soft_wrap=True)
    cases = document["cases"]
    failed = sum(row["n"] for row in document["failed"])
    console.print(
        f"{cases['n']} cases of {cases['patients']} patients, {cases['positive']} with label 1: {cases['scored']} scored, "
        f'{document["cannot_say"]} "cannot say", {failed} not read.'
    )
    for row in document["failed"]:
        console.print(f"  not read ({row['code']}): {row['n']}; for example: {row['example']}", markup=False)
    if document.get("auc"):
        console.print(f"AUC {interval(document['auc'])}")
        for name in ("rule_out", "triage"):
            point = document["operating_points"][name]
            console.print(
                f"{name.replace('_', '-')}: sensitivity {interval(point['sensitivity'])}, "
                f"specificity {interval(point['specificity'])}"
            )
        console.print(f"calibration error {interval(document['calibration']['expected_calibration_error'])}")
    seen = document["leakage"]
    leaked, repeated = len(seen["in_training"]), len(seen["duplicates"])
    if leaked or repeated:
        console.print(f"[yellow]![/] {leaked} cases look like training images, {repeated} like earlier cases.")
    console.print(f"Report: {out / PAGE_NAME}")
