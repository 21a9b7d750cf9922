"""Whether a site's own assessment of a model is enough to release it there; what of it is told as the reason."""

import json
from datetime import datetime
from typing import Any

from pneumoscope.errors import Rejected
from pneumoscope.fleet.messages import Limits

#: Far above what an assessment of thousands of cases has.
MOST_BYTES = 16 * 2**20


class NotAccepted(Rejected):
    """The assessment does not show that the model may be released here."""

    default_code = "service-assessment"


def facts(content: bytes, *, model: str, limits: Limits) -> str:
    """What ``assessment.json`` of ``pneumoscope evaluate`` says of ``model``, in one sentence. Raises NotAccepted.

    ``limits``: how many cases have to be scored, and which AUC is to be reached.
    """
    document = _document(content)
    try:
        found = f"{document['model']['name']} {document['model']['version']}"
        scored, cases = int(document["cases"]["scored"]), int(document["cases"]["n"])
        positive, made_at = int(document["cases"]["positive"]), datetime.fromisoformat(document["made_at"])
        leaked = len(document["leakage"]["in_training"])
        auc = document.get("auc")
        value, low, high = (float(auc[key]) for key in ("value", "low", "high")) if auc else (None, None, None)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _other() from None
    if found != model:
        raise NotAccepted(f"The assessment is of another model; needed is one of {model}.")
    if scored - leaked < limits.acceptance_cases:
        raise NotAccepted(
            f"The assessment has {scored} cases with a score, {leaked} of them from the model's training; needed are at least "
            f"{limits.acceptance_cases} others."
        )
    if value is None or low is None or high is None:
        raise NotAccepted("The assessment has no AUC; needed are cases with the pattern and cases without.")
    if not value >= limits.acceptance_auc:  # as no number is
        raise NotAccepted(f"The assessment's AUC is {value:.3f}; needed is at least {limits.acceptance_auc:g}.")
    return (
        f"Assessed {made_at:%Y-%m-%d} on {cases} cases of this site, {positive} with the pattern, {scored} scored: "
        f"AUC {value:.3f} ({low:.3f} to {high:.3f})."
    )


def _document(content: bytes) -> dict[str, Any]:
    if len(content) > MOST_BYTES:
        raise NotAccepted(f"The file has {len(content)} bytes; an assessment has at most {MOST_BYTES}.")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise _other() from None
    if not isinstance(document, dict) or document.get("schema_version") != 1:
        raise _other()
    return document


def _other() -> NotAccepted:
    return NotAccepted("The file is no assessment; needed is assessment.json of `pneumoscope evaluate`, schema version 1.")
