"""Simulates sites under watch and writes docs/images/watch-*.svg and the table of docs/explanation/watching-a-model.md.

``--quick`` draws fewer sites and writes nothing; ``--processes N`` uses more cores.
"""

import argparse
import re
import sys
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pneumoscope.fleet.messages import AlarmKind, Limits
from pneumoscope.fleet.watching import Observed, watch

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "explanation" / "watching-a-model.md"
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


@dataclass(frozen=True)
class Site:
    """A site that is simulated. ``shift``: of scores, in standard deviations of its scores, from ``changes_on`` on."""

    a_day: float
    days: int
    shape: str = "bimodal"  # or skewed
    mix: float = 0.25  # how far days differ, in standard deviations of the logit of the prevalence, or of the scores
    shift: float = 0.0
    changes_on: int = 10**9
    answered: float = 0.4


def scores(site: Site, number: int, day: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of one day."""
    effect = rng.normal(0, site.mix) + (0.3 if day % 7 > 4 else 0.0)  # weekends: emergencies
    if site.shape == "bimodal":
        sick = rng.random(number) < 1 / (1 + np.exp(1.0 - 2.2 * effect))
        found = np.where(sick, rng.beta(6, 2, number), rng.beta(1.5, 9, number))
        return np.asarray(found)
    return np.asarray(1 / (1 + np.exp(-(rng.gamma(2.0, 0.8, number) - 3.0 + effect))))


def deviation(site: Site) -> float:
    """Standard deviation of all scores of such a site."""
    rng = np.random.default_rng(1)
    return float(np.concatenate([scores(site, 100, day, rng) for day in range(70)]).std())


def rows_of(site: Site, seed: int) -> list[Observed]:
    """All readings of a site."""
    rng = np.random.default_rng(seed)
    sd = deviation(site) if site.shift else 0.0
    rows = []
    for day in range(site.days):
        mean = site.a_day * (0.5 if day % 7 > 4 else 1.2)
        number = int(rng.poisson(mean * rng.gamma(40, 1 / 40)))
        found = scores(site, number, day, rng)
        truth = rng.random(number) < np.clip(found, 0.03, 0.97)
        if day >= site.changes_on:
            found = np.clip(found + site.shift * sd, 0, 1)
        rows += [_row(day, float(p), bool(sick), site, rng) for p, sick in zip(found, truth, strict=True)]
    return rows


def _row(day: int, p: float, sick: bool, site: Site, rng: np.random.Generator) -> Observed:
    moment = BEGIN + timedelta(days=day, hours=float(rng.uniform(0, 24)))
    chance = rng.random()
    weekend = day % 7 > 4
    wait_s = float(rng.lognormal(2.4, 0.5))
    features: dict[str, float | str] = {
        "thickness_mm": float(rng.choice([1.0, 1.25, 5.0], p=[0.6, 0.2, 0.2])),
        "noise_hu": float(rng.gamma(12, 2.0)),
        "age_years": float(np.clip(rng.normal(58, 18), 1, 99)),
        "lung_volume_l": float(rng.normal(4.5, 1)),
        "dose_mas": float(rng.lognormal(4.5, 0.4)),
        "manufacturer": "ge" if rng.random() < (0.7 if weekend else 0.5) else "siemens",
        "kernel": str(rng.choice(["sharp", "standard"])),
        "sex": str(rng.choice(["f", "m"])),
    }
    if chance < 0.07:
        outcome, code = (
            ("failed", "model-failed") if chance < 0.02 else ("refused", "not-axial" if chance < 0.05 else "no-lung")
        )
        return Observed(moment, outcome, code, wait_s=wait_s, features=features)
    category = "sign" if p > 0.6 else "no-sign" if p < 0.35 else "indeterminate"
    answer, agreed = "", None
    if rng.random() < site.answered:
        answer, agreed = "sign" if sick else "no-sign", bool(rng.random() < 0.85)
    return Observed(moment, "read", "", p, category, wait_s, 8.0, features, answer, agreed)


def false_alarms(job: tuple[Site, int]) -> list[tuple[AlarmKind, str, int]]:
    """Alarms in a run in which nothing changes."""
    site, seed = job
    return list(watch(rows_of(site, seed), Limits()).episodes)


def days_to_flag(job: tuple[Site, int]) -> float:
    """Days from the change until the watch of scores finds it, looking every quarter of a day; nan: not found.

    Its part of the budget does not depend on the other streams, which are left empty here for the sake of time.
    """
    site, seed = job
    rows = [replace(row, features={}, answer="", agreed=None) for row in rows_of(site, seed)]
    changed = BEGIN + timedelta(days=site.changes_on)

    def flagged(step: int) -> bool:
        now = changed + timedelta(days=step / 4)
        found = watch([row for row in rows if row.at < now], Limits()).alarms
        return any(alarm.kind is AlarmKind.SCORE_DRIFT for alarm in found)

    steps = range(1, (site.days - site.changes_on) * 4 + 1)
    first = bisect_left(steps, True, key=flagged)  # once raised, it stands
    return steps[first] / 4 if first < len(steps) else float("nan")


RATES, SHIFTS, SHAPES = (5, 20, 50, 200), (0.5, 1.0, 1.5, 2.0), ("bimodal", "skewed")
STREAMS = {
    "scores": {AlarmKind.SCORE_DRIFT},
    "and input": {AlarmKind.INPUT_DRIFT},
    "and shares": {AlarmKind.FAILURES, AlarmKind.REFUSALS, AlarmKind.AGREEMENT, AlarmKind.LATE, AlarmKind.CALIBRATION},
    "and subgroups": {AlarmKind.SUBGROUP},
}


def _site(rate: float, shift: float, shape: str, seed: int) -> Site:
    """One that changes four to ten days after its baseline is full, or a little later, on any day of the week."""
    begin = max(14, int(np.ceil(260 / rate))) + seed % 7
    return Site(rate, begin + (90 if rate < 20 else 30), shape, shift=shift, changes_on=begin)


def simulate(
    sites: int, processes: int
) -> tuple[dict[tuple[str, float, float], list[float]], dict[tuple[str, float], list[list[int]]]]:
    """(Days to flag by shape, studies a day and shift; false alarms of each site-year by shape and studies a day)."""
    found: dict[tuple[str, float, float], list[float]] = {}
    years: dict[tuple[str, float], list[list[int]]] = {}
    with ProcessPoolExecutor(processes) as pool:
        for shape in SHAPES:
            for rate in RATES:
                for shift in SHIFTS:
                    jobs = [(_site(rate, shift, shape, seed), 1000 + seed) for seed in range(sites)]
                    found[shape, rate, shift] = list(pool.map(days_to_flag, jobs))
            for rate in (5, 50):
                kinds = list(STREAMS.values())
                runs = pool.map(false_alarms, [(Site(rate, 379, shape), seed) for seed in range(sites)])
                years[shape, rate] = [[sum(n for kind, _, n in run if kind in some) for some in kinds] for run in runs]
    return found, years


_COLOURS = ("#1b6ca8", "#2a9d6f", "#c77700", "#a83232")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 320, 60, 34, 150, 48


class Chart:
    """A plain chart as SVG, on white so that it reads on any page."""

    def __init__(self, title: str, across: str, up: str, places: Sequence[str], top: float) -> None:
        self.top, self.places = top, places
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}" '
            'font-family="system-ui, sans-serif" font-size="12" fill="#222">',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            f'<text x="{_LEFT}" y="20" font-size="14" font-weight="600">{title}</text>',
            f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">{across}</text>',
            f'<text transform="rotate(-90 16 {_HEIGHT / 2})" x="16" y="{_HEIGHT / 2}" text-anchor="middle">{up}</text>',
        ]
        for n, place in enumerate(places):
            self.parts.append(f'<text x="{self.x(n):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{place}</text>')

    def x(self, place: float) -> float:
        """Of the place with that number."""
        return _LEFT + (place + 0.5) * (_WIDTH - _LEFT - _RIGHT) / len(self.places)

    def y(self, value: float) -> float:
        """Of a value."""
        return _HEIGHT - _BOTTOM - min(value, self.top) / self.top * (_HEIGHT - _TOP - _BOTTOM)

    def level(self, value: float, words: str, *, stroke: str = "#ddd", dash: str = "none") -> None:
        """A line across."""
        y = self.y(value)
        self.parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="{stroke}" stroke-dasharray="{dash}"/>')
        self.parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{words}</text>')

    def line(self, number: int, values: Sequence[float], label: str, *, dash: str = "none") -> None:
        """Points joined; the label stands in the legend."""
        colour = _COLOURS[number % 4]
        points = [(self.x(n), self.y(value)) for n, value in enumerate(values) if not np.isnan(value)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        y, x = _TOP + 12 + 20 * number, _WIDTH - _RIGHT + 14
        self.parts.append(f'<path d="M{x} {y}h20" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        self.parts.append(f'<text x="{x + 26}" y="{y + 4}">{label}</text>')

    def write(self, name: str) -> None:
        """Into docs/images."""
        (ROOT / "docs" / "images" / name).write_text("\n".join([*self.parts, "</svg>", ""]))


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """(Median, nine in ten); those not found count as later than all others."""
    late = np.where(np.isnan(values), np.inf, values)
    middle, most = np.quantile(late, [0.5, 0.9], method="higher")
    return float(middle), float(most)


def draw(found: dict[tuple[str, float, float], list[float]], years: dict[tuple[str, float], list[list[int]]]) -> None:
    chart = Chart(
        "Days until a shift of scores is flagged (median)", "shift, standard deviations", "days", [f"{s:g}" for s in SHIFTS], 15
    )
    for value in (0, 5, 10, 15):
        chart.level(value, f"{value}")
    chart.level(3, "3", stroke="#888", dash="4 4")
    for number, rate in enumerate(RATES):
        both = [[*found["bimodal", rate, shift], *found["skewed", rate, shift]] for shift in SHIFTS]
        chart.line(number, [_spread(values)[0] for values in both], f"{rate:g} studies a day")
    chart.write("watch-days.svg")
    chart = Chart("False alarms of a site in a year", "streams watched together", "false alarms", list(STREAMS), 1.2)
    for value in (0, 0.25, 0.5, 0.75):
        chart.level(value, f"{value:g}")
    chart.level(1, "1", stroke="#888", dash="4 4")
    for number, ((shape, rate), runs) in enumerate(years.items()):
        means = np.cumsum(np.mean(runs, axis=0))
        chart.line(number, means.tolist(), f"{shape}, {rate:g} a day")
    chart.write("watch-false-alarms.svg")


def table(found: dict[tuple[str, float, float], list[float]], years: dict[tuple[str, float], list[list[int]]]) -> str:
    """Days as "median (nine in ten)"."""
    lines = ["| scores | studies a day | " + " | ".join(f"{s:g} sd" for s in SHIFTS) + " |", "|---|---|" + "---|" * len(SHIFTS)]
    for shape in SHAPES:
        for rate in RATES:
            cells = []
            for shift in SHIFTS:
                middle, most = _spread(found[shape, rate, shift])
                cells.append(f"{_days(middle)} ({_days(most)})")
            lines.append(f"| {shape} | {rate:g} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| scores | studies a day | site-years | " + " | ".join(STREAMS) + " |",
        "|---|---|---|" + "---|" * len(STREAMS),
    ]
    for (shape, rate), runs in years.items():
        means = np.cumsum(np.mean(runs, axis=0))
        lines.append(f"| {shape} | {rate:g} | {len(runs)} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return "\n".join(lines)


def _days(value: float) -> str:
    return "not in time" if np.isinf(value) else f"{value:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    found, years = simulate(1 if options.quick else 40, options.processes)
    block = table(found, years)
    print(block)
    if not options.quick:
        draw(found, years)
        text = PAGE.read_text()
        PAGE.write_text(
            re.sub(r"(<!-- curves -->\n).*(\n<!-- end of curves -->)", rf"\g<1>{block}\g<2>", text, flags=re.DOTALL)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
