"""Curves of the assessment, as inline SVG with presentation attributes only; colours follow the page's theme."""

from collections.abc import Sequence
from typing import Any

SIZE, LEFT, TOP, RIGHT, BOTTOM = 320, 46, 12, 12, 42
_WIDTH, _HEIGHT = SIZE - LEFT - RIGHT, SIZE - TOP - BOTTOM
ACCENT, SICK, WELL = "var(--accent)", "var(--sign)", "var(--accent)"


def _x(value: float) -> float:
    return round(LEFT + value * _WIDTH, 1)


def _y(value: float) -> float:
    return round(TOP + (1 - value) * _HEIGHT, 1)


def _text(x: float, y: float, words: str, *, anchor: str = "middle", size: int = 12) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="currentColor">{words}</text>'


def _frame(label: str, *, across: str, up: str, ticks_up: Sequence[tuple[float, str]] | None = None) -> list[str]:
    parts = [f'<svg viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="{label}">']
    ticks = [(v / 4, f"{v / 4:g}") for v in range(5)]
    for value, words in ticks:
        parts.append(f'<path d="M{_x(value)} {_y(0)}V{_y(1)}" stroke="currentColor" stroke-opacity=".12"/>')
        parts.append(_text(_x(value), _y(0) + 15, words))
    for value, words in ticks_up or ticks:
        parts.append(f'<path d="M{_x(0)} {_y(value)}H{_x(1)}" stroke="currentColor" stroke-opacity=".12"/>')
        parts.append(_text(_x(0) - 5, _y(value) + 4, words, anchor="end"))
    parts.append(_text(_x(0.5), SIZE - 6, across))
    middle = _y(0.5)
    parts.append(
        f'<text x="13" y="{middle}" font-size="12" text-anchor="middle" fill="currentColor" '
        f'transform="rotate(-90 13 {middle})">{up}</text>'
    )
    return parts


def _line(points: Sequence[tuple[float, float]], stroke: str, *, width: float = 2) -> str:
    path = "M" + "L".join(f"{_x(a)} {_y(b)}" for a, b in points)
    return f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linejoin="round"/>'


def _diagonal() -> str:
    return f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="currentColor" stroke-opacity=".4" stroke-dasharray="4 4"/>'


def roc_svg(roc: dict[str, list[float]], points: Sequence[tuple[str, float, float]]) -> str:
    """The ROC curve in its band; ``points``: (name, false positive rate, sensitivity) of the documented uses."""
    parts = _frame("ROC curve", across="1 - specificity", up="sensitivity")
    across = roc["false_positive_rate"]
    band = [*zip(across, roc["high"], strict=True), *reversed(list(zip(across, roc["low"], strict=True)))]
    outline = "M" + "L".join(f"{_x(a)} {_y(b)}" for a, b in band) + "Z"
    parts.append(f'<path d="{outline}" fill="{ACCENT}" fill-opacity=".22"/>')
    parts += [_diagonal(), _line(list(zip(across, roc["sensitivity"], strict=True)), ACCENT)]
    for name, false_positive, sensitivity in points:
        parts.append(f'<circle cx="{_x(false_positive)}" cy="{_y(sensitivity)}" r="5" fill="{SICK}"/>')
        right = false_positive < 0.6
        x, anchor = (_x(false_positive) + 9, "start") if right else (_x(false_positive) - 9, "end")
        parts.append(_text(x, _y(sensitivity) + 15, name, anchor=anchor))
    return "".join([*parts, "</svg>"])


def reliability_svg(bins: Sequence[dict[str, Any]]) -> str:
    """Share of positives over mean score, in each tenth of the score, with Wilson intervals."""
    parts = _frame("Reliability: share of positives over score", across="score", up="share positive")
    parts.append(_diagonal())
    for row in bins:
        x = _x(row["mean_score"])
        parts.append(f'<path d="M{x} {_y(row["low"])}V{_y(row["high"])}" stroke="{ACCENT}" stroke-width="2"/>')
        radius = round(min(9.0, 2.5 + row["n"] ** 0.5 / 3), 1)
        parts.append(f'<circle cx="{x}" cy="{_y(row["share_positive"])}" r="{radius}" fill="{ACCENT}"/>')
        parts.append(_text(x, _y(row["high"]) - 5, str(row["n"]), size=10))
    return "".join([*parts, "</svg>"])


def histogram_svg(histogram: Sequence[Sequence[int]], thresholds: Sequence[tuple[str, float]]) -> str:
    """How scores lie, label 1 above the line and label 0 below it, each by its own largest count."""
    parts = _frame("Scores by label", across="score", up="cases", ticks_up=[(0.75, "label 1"), (0.25, "label 0")])
    for counts, sign, fill in ((histogram[1], 1, SICK), (histogram[0], -1, WELL)):
        top = max(1, *counts)
        for k, n in enumerate(counts):
            if n:
                height = 0.46 * n / top
                y = _y(0.5 + height) if sign > 0 else _y(0.5)
                parts.append(
                    f'<rect x="{_x(k / len(counts)) + 0.5}" y="{y}" width="{_WIDTH / len(counts) - 1:.1f}" '
                    f'height="{height * _HEIGHT:.1f}" fill="{fill}" fill-opacity=".85"><title>{n}</title></rect>'
                )
    parts.append(f'<path d="M{_x(0)} {_y(0.5)}H{_x(1)}" stroke="currentColor"/>')
    for row, (name, value) in enumerate(thresholds):
        parts.append(f'<path d="M{_x(value)} {_y(0)}V{_y(1)}" stroke="currentColor" stroke-dasharray="2 3"/>')
        parts.append(_text(_x(value) + 4, _y(0) - 5 - 12 * row, name, anchor="start", size=10))
    return "".join([*parts, "</svg>"])


def forest_svg(rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    """AUC and interval of each group, one under the other, from 0.4 to 1."""
    width, line, left = 640, 24, 230
    height = line * len(rows) + 34

    def across(value: float) -> float:
        return round(left + (min(1.0, max(0.4, value)) - 0.4) / 0.6 * (width - left - 150), 1)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="AUC by subgroup">']
    for tick in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        parts.append(f'<path d="M{across(tick)} 4V{height - 28}" stroke="currentColor" stroke-opacity=".14"/>')
        parts.append(_text(across(tick), height - 12, f"{tick:g}"))
    for k, (name, auc) in enumerate(rows):
        y = line * k + 16
        parts.append(_text(left - 12, y + 4, name, anchor="end"))
        parts.append(f'<path d="M{across(auc["low"])} {y}H{across(auc["high"])}" stroke="{ACCENT}" stroke-width="2"/>')
        parts.append(f'<rect x="{across(auc["value"]) - 4}" y="{y - 4}" width="8" height="8" fill="{ACCENT}"/>')
        parts.append(_text(width - 4, y + 4, f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})", anchor="end"))
    return "".join([*parts, "</svg>"])


def standalone(svg: str) -> str:
    """A chart as a file of its own, on white and legible on dark pages too."""
    plain = svg.replace(ACCENT, "#006878").replace(SICK, "#a83400").replace("currentColor", "#333333")
    plain = plain.replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" width="480" height="480" ', 1
    )
    opening, rest = plain.split(">", 1)
    return f'{opening}><rect width="{SIZE}" height="{SIZE}" fill="#ffffff"/>{rest}\n'
