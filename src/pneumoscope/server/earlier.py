"""Earlier studies of the same person, and how the involvement went, as a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from markupsafe import Markup

from pneumoscope.results.words import parse_date, person_names
from pneumoscope.server.language import say, vocabulary
from pneumoscope.server.language.vocabulary import N_

WIDTH, HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _LOW = 46, 20, 16, 188
_LINES = (("right_share", "right"), ("left_share", "left"), ("involved_share", "both"))


@dataclass(frozen=True, kw_only=True)
class Trend:
    """``studies``: those of the same person, the latest first. ``doubtful``: how many more have the same ID; not shown."""

    studies: Sequence[Mapping[str, Any]]
    doubtful: int
    plot: Markup


def same_person(row: Mapping[str, Any], others: Sequence[Mapping[str, Any]], reading: Mapping[str, Any] | None) -> Trend:
    """Of the studies under one PatientID, those whose name agrees and whose birth date does not speak against it."""
    mine = [other for other in others if _agree(row, other)]
    points = [other for other in mine if other["involved_share"] is not None]
    if reading:
        points.append({**row, **{name: reading[name] for name, _ in _LINES}})
    dated = sorted(((day, point) for point in points if (day := parse_date(point["StudyDate"]))), key=lambda each: each[0])
    plot = Markup(_plot(dated)) if len(dated) > 1 else Markup("")  # noqa: S704  numbers, dates and our own words
    return Trend(studies=mine, doubtful=len(others) - len(mine), plot=plot)


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Numbers alone are not enough: two hospitals give the same ones, and some scanners none but "0"."""
    names = [_folded(each["PatientName"]) for each in (one, other)]
    births = [parse_date(each["PatientBirthDate"]) for each in (one, other)]
    return bool(names[0] & names[1]) and (None in births or births[0] == births[1])


def _folded(PatientName: str) -> set[str]:
    """Each writing of a name, without what spellings differ in."""
    return {"".join(name.split()).casefold() for name in person_names(PatientName)}


def _plot(points: Sequence[tuple[date, Mapping[str, Any]]]) -> str:
    """Share of the lungs over time, as SVG that the page's style sheet colours."""
    days = [day for day, _ in points]
    span = max((days[-1] - days[0]) / timedelta(days=1), 1.0)
    top = _round_up(max(point[name] or 0.0 for _, point in points for name, _ in _LINES))

    def x(day: date) -> float:
        return _LEFT + (day - days[0]) / timedelta(days=1) / span * (WIDTH - _LEFT - _RIGHT)

    def y(share: float) -> float:
        return _LOW - share / top * (_LOW - _TOP)

    told = "; ".join(f"{day.isoformat()} {vocabulary.percent(point['involved_share'])}" for day, point in points)
    label = say(N_("Share of the lungs involved over time"))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="trend" aria-label="{label}: {told}">']
    for share in (0.0, top / 2, top):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(share):.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{vocabulary.percent(share)}</text>')
    for name, line in _LINES:
        placed = [(x(day), y(point[name])) for day, point in points if point[name] is not None]
        path = " ".join(f"{at_x:.1f},{at_y:.1f}" for at_x, at_y in placed)
        parts.append(f'<polyline class="line {line}" points="{path}"/>')
        parts += [f'<circle class="dot {line}" cx="{at_x:.1f}" cy="{at_y:.1f}" r="4"/>' for at_x, at_y in placed]
    for k, anchor in ((0, "start"), (len(days) - 1, "end")):
        parts.append(f'<text x="{x(days[k]):.1f}" y="{_LOW + 20}" text-anchor="{anchor}">{days[k].isoformat()}</text>')
    return "".join([*parts, "</svg>"])


def _round_up(share: float) -> float:
    """The top of the scale: the next of 5, 10, 25, 50, 100 %."""
    return next((top for top in (0.05, 0.1, 0.25, 0.5) if share <= top), 1.0)
