"""Intervals that need no resampling."""

import math


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (J Am Stat Assoc 1927); ``n`` at least 1."""
    z = 1.959964
    middle = (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(successes * (n - successes) / n + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)
