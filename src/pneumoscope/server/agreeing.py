"""How far readers agree with readings: counts, shares with intervals, and a picture of them over time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from markupsafe import Markup

from pneumoscope.evaluation.intervals import wilson
from pneumoscope.records import Judgement

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 240, 44, 14, 14, 40
#: More names than this along the time axis would run into one another.
MOST_NAMES = 10


class Period(StrEnum):
    """What answers are put together by."""

    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Current answers of one group; ``low`` and ``high``: Wilson's 95 % interval of the share that was accepted."""

    name: str
    accepted: int
    modified: int
    rejected: int

    @property
    def n(self) -> int:
        """All of them."""
        return self.accepted + self.modified + self.rejected

    @property
    def share(self) -> float:
        """Part that was accepted as it is."""
        return self.accepted / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share may well lie."""
        return wilson(self.accepted, self.n)


def tally(name: str, rows: Iterable[sa.RowMapping]) -> Tally:
    """Count one group."""
    given = [row["judgement"] for row in rows]
    return Tally(
        name=name,
        accepted=given.count(Judgement.ACCEPT),
        modified=given.count(Judgement.MODIFY),
        rejected=given.count(Judgement.REJECT),
    )


def grouped(rows: Iterable[sa.RowMapping], name: Callable[[sa.RowMapping], str]) -> list[Tally]:
    """A tally of each group, by name."""
    groups: dict[str, list[sa.RowMapping]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return [tally(key, groups[key]) for key in sorted(groups)]


def start_of(moment: datetime, period: Period) -> date:
    """First day of the week or month, in UTC as all moments are."""
    day = moment.date()
    return day - timedelta(days=day.weekday()) if period is Period.WEEK else day.replace(day=1)


def over_time(rows: Iterable[sa.RowMapping], period: Period) -> list[Tally]:
    """A tally of each week or month in which something was answered, the first one first."""
    return grouped(rows, lambda row: start_of(row["at"], period).isoformat())


def picture(tallies: Sequence[Tally], label: str) -> Markup:
    """Share accepted over time with its intervals, as SVG; the table says the same in numbers."""
    days = [date.fromisoformat(each.name).toordinal() for each in tallies]
    first, span = min(days), max(1, max(days) - min(days))
    inner = WIDTH - LEFT - RIGHT - 40

    def x_of(day: int) -> float:
        return round(LEFT + 20 + (day - first) / span * inner, 1) if len(set(days)) > 1 else LEFT + 20 + inner / 2

    def y_of(share: float) -> float:
        return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{Markup.escape(label)}">']
    for quarter in range(5):
        y = y_of(quarter / 4)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity=".15"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{quarter * 25} %", anchor="end"))
    line = "M" + "L".join(f"{x_of(day)} {y_of(each.share)}" for day, each in zip(days, tallies, strict=True))
    parts.append(f'<path d="{line}" fill="none" stroke="var(--accent)" stroke-opacity=".5"/>')
    every = -(-len(tallies) // MOST_NAMES)
    for k, (day, each) in enumerate(zip(days, tallies, strict=True)):
        x, (low, high) = x_of(day), each.interval
        parts.append(f'<path d="M{x} {y_of(low)}V{y_of(high)}" stroke="var(--accent)" stroke-width="2"/>')
        parts.append(f'<circle cx="{x}" cy="{y_of(each.share)}" r="5" fill="var(--accent)"/>')
        if k % every == 0:
            parts.append(_text(x, HEIGHT - 20, each.name))
            parts.append(_text(x, HEIGHT - 5, f"n = {each.n}"))
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers, dates of our own and an escaped label


def _text(x: float, y: float, words: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" font-size="12" text-anchor="{anchor}" fill="currentColor">{words}</text>'
