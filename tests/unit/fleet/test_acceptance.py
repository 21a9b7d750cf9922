"""What of a site's own assessment is enough to release a model, and what is told of it."""

import json
from typing import Any

import pytest

from pneumoscope.fleet.acceptance import NotAccepted, facts
from pneumoscope.fleet.messages import Limits

MODEL = "lung-lesion 1.0.0"


def assessment(**changes: Any) -> bytes:
    document: dict[str, Any] = {
        "schema_version": 1,
        "made_at": "2026-01-02T03:04:05+00:00",
        "model": {"name": "lung-lesion", "version": "1.0.0", "sha256": "0" * 64},
        "cases": {"n": 30, "patients": 30, "positive": 12, "scored": 28},
        "leakage": {"checked": True, "in_training": []},
        "auc": {"value": 0.91, "low": 0.8, "high": 0.97},
    }
    return json.dumps(document | changes).encode()


def test_its_facts_are_told() -> None:
    assert facts(assessment(), model=MODEL, limits=Limits()) == (
        "Assessed 2026-01-02 on 30 cases of this site, 12 with the pattern, 28 scored: AUC 0.910 (0.800 to 0.970)."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"name": "lung-lesion", "version": "2.0.0"}}, "another model"),
        ({"cases": {"n": 30, "positive": 12, "scored": 19}}, "19 cases"),
        ({"leakage": {"in_training": ["a"] * 9}}, "9 of them from the model's training"),
        ({"auc": None}, "no AUC"),
        ({"auc": {"value": 0.69, "low": 0.5, "high": 0.8}}, "0.690"),
        ({"auc": {"value": float("nan"), "low": 0.5, "high": 0.8}}, "nan"),
        ({"schema_version": 2}, "no assessment"),
        ({"cases": []}, "no assessment"),
        ({"made_at": 7}, "no assessment"),
    ],
)
def test_what_is_not_enough_is_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NotAccepted, match=said):
        facts(assessment(**changes), model=MODEL, limits=Limits())


def test_another_file_is_none() -> None:
    for content in (b"", b"[]", b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(NotAccepted, match="no assessment"):
            facts(content, model=MODEL, limits=Limits())
