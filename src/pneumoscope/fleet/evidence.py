"""Evidence that something has changed, gathered day by day, with a bound on false alarms however often one looks.

The Shiryaev-Roberts sum of likelihood ratios, as an e-detector (Shin, Ramdas, Rinaldo, N Engl J Stat Data Sci 2024): as long as
nothing has changed, R - (number of batches) is a supermartingale, so that R reaches A after A batches or more, on average.
A batch is a day. Its ratio is that of all its readings together with an effect of the day integrated out, so that it may be
taken at any moment of the day, and readings within it may come in any order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]
#: How far evidence may run above its limit, as a logarithm: what has passed is so forgotten in about the time it took to find.
_ABOVE = 2.0


@dataclass(frozen=True)
class Standing:
    """What stands at the end of a history. Indices are of batches; -1: no alarm."""

    since: int = -1  # where the change most likely lies
    raised: int = -1  # where the alarm was raised
    episodes: int = 0  # alarms raised in all


def gather(log_ratios: Floats, *, log_limit: float) -> Standing:
    """``log_ratios``: alternatives x batches, of each batch alone; the alternatives are mixed with equal weight."""
    alternatives, batches = log_ratios.shape
    evidence = np.full(alternatives, -np.inf)
    best, first = np.zeros(alternatives), np.zeros(alternatives, dtype=int)
    since = raised = -1
    episodes = 0
    for batch in range(batches):
        ratio = log_ratios[:, batch]
        evidence = np.minimum(np.logaddexp(0.0, evidence) + ratio, log_limit + np.log(alternatives) + _ABOVE)
        first = np.where(best > 0, first, batch)
        best = np.maximum(best, 0) + ratio
        total = np.logaddexp.reduce(evidence) - np.log(alternatives)
        if raised < 0 and total >= log_limit:
            since, raised, episodes = int(first[np.argmax(evidence)]), batch, episodes + 1
        elif raised >= 0 and total < log_limit / 2:
            since = raised = -1
    return Standing(since, raised, episodes)


def of_means(mean: Floats, n: Floats, *, spread: Floats, tolerated: float, shifts: tuple[float, ...]) -> Floats:
    """Log ratios (up and down for each of ``shifts``) x batches that a mean lies ``shift`` beyond +-``tolerated``.

    ``mean``: of ``n`` standardised values in each batch; ``spread``: standard deviation of the effect of a batch.
    """
    n = np.asarray(n, dtype=float)
    variance = 1 / np.maximum(n, 1e-9) + spread**2
    rows = []
    for sign in (1, -1):
        for shift in shifts:
            beyond = tolerated + shift
            rows.append((shift * sign * mean - (beyond**2 - tolerated**2) / 2) / variance)
    return np.where(n > 0, np.array(rows), 0.0)


def of_shares(hits: Floats, n: Floats, *, most: Floats | float, other: Floats | float, alike: float) -> Floats:
    """Log ratio in each batch that a share is ``other``, and not ``most`` or less: beta-binomial, ``alike`` within a batch.

    Its ratio rises with ``hits`` where ``other`` > ``most``, so that the bound holds for every share up to ``most``.
    """
    strength = 1 / alike - 1
    hits, n = np.asarray(hits, dtype=float), np.asarray(n, dtype=float)

    def likelihood(share: Floats | float) -> Floats:
        yes, no = np.clip(share, 1e-4, 1 - 1e-4) * strength, (1 - np.clip(share, 1e-4, 1 - 1e-4)) * strength
        return gammaln(hits + yes) - gammaln(yes) + gammaln(n - hits + no) - gammaln(no)

    return likelihood(other) - likelihood(most)
