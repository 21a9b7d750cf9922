"""Shares of counts that are known as ranges, with intervals that hold whatever the hidden counts are."""

import math
from dataclasses import dataclass

from scipy.special import betaincinv


@dataclass(frozen=True, kw_only=True)
class Span:
    """A number that lies in ``least`` to ``most``; they are one where nothing is hidden."""

    least: int
    most: int

    def __str__(self) -> str:
        """As people read it."""
        if self.least == self.most:
            return f"{self.least:,}"
        return "<5" if (self.least, self.most) == (1, 4) else f"{self.least:,} to {self.most:,}"

    def __add__(self, other: "Span") -> "Span":
        return Span(least=self.least + other.least, most=self.most + other.most)

    @property
    def middle(self) -> float:
        """Where one number is needed."""
        return (self.least + self.most) / 2


NOTHING = Span(least=0, most=0)


def jeffreys(hits: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Jeffreys' interval of a share: equal tails of Beta(hits + 1/2, n - hits + 1/2), with its ends at 0 and 1."""
    if n <= 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    a, b = hits + 0.5, n - hits + 0.5
    low = 0.0 if hits == 0 else float(betaincinv(a, b, tail))
    high = 1.0 if hits == n else float(betaincinv(a, b, 1 - tail))
    return low, high


@dataclass(frozen=True, kw_only=True)
class Share:
    """``hits`` of ``n``; ``likely``: what the hits likely are, where they are a range."""

    hits: Span
    n: Span
    likely: float | None = None

    @property
    def value(self) -> float | None:
        """The share, as it likely is; None of nothing."""
        hits = self.hits.middle if self.likely is None else self.likely
        return min(1.0, hits / self.n.middle) if self.n.middle else None

    def interval(self, *, level: float = 0.95) -> tuple[float, float]:
        """Where the share may well lie: from the least hits there can be, to the most."""
        low, _ = jeffreys(min(self.hits.least, self.n.most), self.n.most, level=level)
        _, high = jeffreys(min(self.hits.most, self.n.least), self.n.least, level=level)
        return low, high

    def __str__(self) -> str:
        """As people read it."""
        if self.value is None:
            return "–"
        low, high = self.interval()
        return f"{100 * self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def chance_of_so_many(number: int, expected: float) -> float:
    """How likely ``number`` or more events are where ``expected`` come on average (Poisson)."""
    below, term = 0.0, math.exp(-expected)
    for k in range(number):
        below += term
        term *= expected / (k + 1)
    return max(0.0, 1.0 - below)
