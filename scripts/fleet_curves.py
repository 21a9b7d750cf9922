"""Simulates sites under watch and writes docs/images/watch-*.svg and the table of docs/explanation/watching-a-model.md.

``--quick`` draws fewer sites and writes nothing; ``--processes N`` uses more cores.
"""

from dataclasses import dataclass
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
    """Days from the change until the watch of scores finds it, as a site that looks every quarter of a day; nan: not found."""
    site, seed = job
    rows = rows_of(site, seed)
    changed = BEGIN + timedelta(days=site.changes_on)
    before = [row for row in rows if row.at < changed]
    after = sorted((row for row in rows if row.at >= changed), key=lambda row: row.at)
    low, high = 0, int((site.days - site.changes_on) * 4)
    for step in range(low + 1, high + 1):
        now = changed + timedelta(days=step / 4)
        found = watch([*before, *(row for row in after if row.at < now)], Limits()).alarms
        if any(alarm.kind is AlarmKind.SCORE_DRIFT for alarm in found):
            return step / 4
    return float("nan")
