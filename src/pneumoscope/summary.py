"""The reading on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from pneumoscope.codes import severity
from pneumoscope.records import ZONES, Category, Reading, Region
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, REGION_WORDS, headline, percent

STYLES = {Category.SIGN: "bold red", Category.INDETERMINATE: "bold yellow", Category.NO_SIGN: "bold green"}


def print_summary(reading: Reading, folder: Path, stage_seconds: dict[str, float], total_s: float) -> None:
    """Print the finding, the measures, what to keep in mind and where the results lie; no patient data."""
    console = Console(highlight=False)
    scores = reading.scores
    score = "no score" if scores.probability is None else f"score {scores.probability:.2f}"
    style = STYLES.get(scores.category, "bold")
    subtitle = f"{score}, severity {reading.severity_points} of 24. {NOT_FOR_DIAGNOSIS}"
    console.print(Panel(f"[{style}]{headline(reading)}[/]", subtitle=subtitle))
    table = Table(box=None, pad_edge=False)
    for head, justify in (
        ("region", "left"),
        ("volume ml", "right"),
        ("lesion ml", "right"),
        ("share", "right"),
        ("band", "left"),
    ):
        table.add_column(head, justify=justify)  # type: ignore[arg-type]
    for region in (Region.LUNGS, Region.RIGHT_LUNG, Region.LEFT_LUNG, *ZONES):
        finding = reading.finding(region)
        band = f"{severity(finding.share)[0]} of 4" if region in ZONES else ""
        lesion = f"{finding.lesion_ml:.1f} ± {finding.lesion_uncertainty_ml:.1f}"
        table.add_row(REGION_WORDS[region], f"{finding.volume_ml:.0f}", lesion, percent(finding.share), band)
    console.print(table)
    for notice in reading.notices:
        console.print(f"[yellow]![/] {notice.text}")
    for verdict in reading.verdicts:
        if not verdict.chosen:
            console.print(
                f"  series {verdict.SeriesNumber}, {verdict.image_count} images, not read: {verdict.reason}", markup=False
            )
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stage_seconds.items())
    console.print(f"Done in {total_s:.1f} s ({spent}).")
    console.print(f"Report: {folder / 'report.html'}", soft_wrap=True)
