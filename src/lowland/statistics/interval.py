"""Student's t interval for a mean of few numbers, and when it means nothing."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import special

CONFIDENCE = 0.95

# Differences that agree to this many points are equal: a percentage near 100 in double
# precision is rounded at about 1e-14, and no metric moves in steps anywhere near 1e-9.
EQUAL_POINTS = 1e-9


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, both in the unit of what was measured."""

    low: float
    high: float


def critical(n: int, confidence: float = CONFIDENCE) -> float:
    """Returns how many standard errors the interval reaches to each side of a mean of n numbers.

    Args:
        n: How many numbers, two or more.
        confidence: How often the interval holds the true mean.

    Source:
        Student's t with n - 1 degrees of freedom.
    """
    return float(special.stdtrit(n - 1, (1 + confidence) / 2))


def interval_holds(n: int, equal_differences: bool) -> bool:
    """Tells whether an interval over n pairs means something; see `compare_pairs` on equal differences."""
    return n >= 2 and (not equal_differences or 2 / 2**n < 1 - CONFIDENCE)
