"""The assessment as one page: self-contained, without scripts, in the look of the report."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pneumoscope.evaluation.charts import forest_svg, histogram_svg, reliability_svg, roc_svg
from pneumoscope.results.report import content_security_policy
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS

#: How many names the lists of duplicates show; the whole lists are in the JSON.
SHOWN = 20
USES = {
    "rule_out": ("rule-out", "anything but “no sign” counts as positive"),
    "triage": ("triage", "“sign” counts as positive"),
    "even": ("score of 0.5", "half and above counts as positive"),
}
CALIBRATION_WORDS = {
    "brier": "Brier score (0 is best)",
    "expected_calibration_error": "expected calibration error (0 is best)",
    "mean_score_minus_share_positive": "mean score minus share positive (0 is best)",
    "intercept": "calibration intercept (0 is best)",
    "slope": "calibration slope (1 is best)",
}


def build_page(document: dict[str, Any]) -> bytes:
    """assessment.html for eyes."""
    environment = Environment(
        loader=PackageLoader("pneumoscope.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["interval"] = interval
    shared = Environment(loader=PackageLoader("pneumoscope.results"), autoescape=True).get_template("report.css").render()
    style = (shared + environment.get_template("evaluation.css").render()).strip()
    page = environment.get_template("evaluation.html").render(
        policy=content_security_policy(style),
        style=Markup(style),  # noqa: S704  our own files
        d=document,
        charts=[(title, Markup(svg)) for title, svg in _charts(document)],  # noqa: S704  numbers and escaped names
        forest=Markup(_forest(document)),  # noqa: S704  numbers and escaped names
        uses=USES,
        calibration_words=CALIBRATION_WORDS,
        shown=SHOWN,
        not_for_diagnosis=NOT_FOR_DIAGNOSIS,
    )
    return page.encode()


def interval(estimate: dict[str, float] | None, digits: int = 3) -> str:
    """A value with its 95 % interval."""
    if estimate is None:
        return "not defined"
    return f"{estimate['value']:.{digits}f} ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"


def _charts(document: dict[str, Any]) -> list[tuple[str, str]]:
    charts = []
    if document.get("roc"):
        points = []
        for name in ("rule_out", "triage"):
            point = document["operating_points"][name]
            if point["sensitivity"] and point["specificity"]:
                points.append((USES[name][0], 1 - point["specificity"]["value"], point["sensitivity"]["value"]))
        charts.append(("ROC, band: 95 %", roc_svg(document["roc"], points)))
    if "calibration" in document:
        charts.append(("Calibration, numbers: cases", reliability_svg(document["calibration"]["bins"])))
        kinds = [kind for kind in ("study", "picture") if document["cases"]["kinds"].get(kind)]
        limits = [
            (f"{USES[name][0]}, {kind}", document["thresholds"][name][kind])
            for name in ("rule_out", "triage")
            for kind in kinds
        ]
        charts.append(("Scores", histogram_svg(document["histogram"], limits)))
    return charts


def _forest(document: dict[str, Any]) -> str:
    rows = [
        (str(escape(f"{row['column']}: {row['value']}"[:34])), row["auc"])
        for row in document.get("subgroups", ())
        if row.get("auc")
    ]
    return forest_svg(rows) if rows else ""
