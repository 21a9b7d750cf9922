"""Two models on the same cases: paired tests, because the cases are the same."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pneumoscope.evaluation import metrics
from pneumoscope.evaluation.assessment import Document, thresholds
from pneumoscope.evaluation.labels import Case, read_labels
from pneumoscope.evaluation.page import interval
from pneumoscope.evaluation.run import evaluate_labels
from pneumoscope.evaluation.scoring import STORE_NAME, Outcome, default_processes, score_cases
from pneumoscope.models import Bundle

COMPARISON_NAME = "comparison.json"


def compare_models(
    labels: Path,
    bundles: Sequence[Bundle],
    out: Path,
    *,
    positive: tuple[str, ...] = (),
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Document:
    """Assess both models into ``out``/a and ``out``/b, compare them on the cases that both scored, write and return it."""
    cases = read_labels(labels, positive=positive)
    outcomes = []
    for name, bundle in zip("ab", bundles, strict=True):
        evaluate_labels(labels, bundle, out / name, positive=positive, processes=processes, progress=progress)
        store = out / name / STORE_NAME
        outcomes.append(score_cases(cases, bundle, store, processes=processes or default_processes()))
    document = compare_outcomes(cases, outcomes[0], outcomes[1], bundles)
    (out / COMPARISON_NAME).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


def compare_outcomes(cases: Sequence[Case], a: Sequence[Outcome], b: Sequence[Outcome], bundles: Sequence[Bundle]) -> Document:
    """Differences are second minus first. AUC: DeLong. Sensitivity and specificity: paired bootstrap of patients."""
    every = [np.array([np.nan if outcome.score is None else outcome.score for outcome in some]) for some in (a, b)]
    given = np.isfinite(every)
    both = given.all(axis=0)
    scores = [score[both] for score in every]
    label = np.array([int(case.positive) for case in cases], dtype=np.int64)[both]
    patient = np.array([case.patient for case in cases])[both]
    first, second = (metrics.Sample(score=score, label=label, patient=patient) for score in scores)
    document: Document = {
        "models": [{"name": m.model.name, "version": m.model.version, "sha256": m.model.sha256} for m in bundles],
        "cases": {
            **first.counts,
            "scored_by_one_only": int((given[0] != given[1]).sum()),
        },
        "auc": [metrics.discrimination(sample) if len(label) else None for sample in (first, second)],
        "auc_difference": _rounded(metrics.delong(scores[0], scores[1], label)),
        "operating_points": {},
    }
    kinds = [a[k].kind for k in np.flatnonzero(both).tolist()]
    for name in ("rule_out", "triage"):
        limits = [np.array([thresholds(m.calibration)[name][kind] for kind in kinds]) for m in bundles]
        flagged = [score >= limit for score, limit in zip(scores, limits, strict=True)]
        document["operating_points"][name] = {
            "sensitivity_difference": _difference(first, flagged, label == 1, right=True),
            "specificity_difference": _difference(first, flagged, label == 0, right=False),
        }
    return document


def _difference(
    sample: metrics.Sample, flagged: list[NDArray[np.bool_]], among: NDArray[np.bool_], *, right: bool
) -> dict[str, float] | None:
    if not among.any():
        return None
    return metrics.estimate(
        lambda w: metrics.share(flagged[1] == right, among, w) - metrics.share(flagged[0] == right, among, w), sample
    )


def _rounded(values: dict[str, float]) -> dict[str, float | None]:
    return {key: round(value, 5) if np.isfinite(value) else None for key, value in values.items()}


def print_comparison(document: Document, out: Path) -> None:
    """The outcome in a few lines."""
    console = Console(highlight=False, soft_wrap=True)
    for model, auc in zip(document["models"], document["auc"], strict=True):
        console.print(f"{model['name']} {model['version']} ({model['sha256'][:8]}): AUC {interval(auc)}")
    d = document["auc_difference"]
    if d["difference"] is not None:
        console.print(
            f"difference {d['difference']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f}), p = {d['p']:.3g} (DeLong, paired)"
        )
    for name, point in document["operating_points"].items():
        words = ", ".join(f"{key.split('_')[0]} {interval(point[key])}" for key in point)
        console.print(f"{name.replace('_', '-')}: change of {words}")
    console.print(f"{document['cases']['n']} cases scored by both; {document['cases']['scored_by_one_only']} by one only.")
    console.print(f"Comparison: {out / COMPARISON_NAME}")
