"""Compares two arms over the seeds that both of them ran.

A seed fixes the order of the examples, the dropout and whatever else is random, for both
arms alike. So the arms are compared seed by seed: the differences are the data, and
Student's t gives the interval for their mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Verdict = Literal["better", "worse", "no difference detected", "not enough seeds"]

CONFIDENCE = 0.95

# Differences that agree to this many points are equal: a percentage near 100 in double
# precision is rounded at about 1e-14, and no metric moves in steps anywhere near 1e-9.
EQUAL_POINTS = 1e-9


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean and spread of some numbers.

    Attributes:
        mean: Their mean; nan when there are none.
        sd: Their standard deviation with n - 1 below the line; nan for fewer than two.
        n: How many there are.
    """

    mean: float
    sd: float
    n: int


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """SAM against standard training over pairs of runs that share a seed.

    Attributes:
        standard: The standard runs of the pairs.
        sam: The SAM runs of the pairs.
        difference: Mean of SAM minus standard, in points; nan without a pair.
        low: Lower end of the 95% interval for the mean difference; nan for fewer than two pairs.
        high: Upper end.
        n: Number of pairs.
        verdict: Whether SAM is better.
        equal_differences: Whether all of two or more pairs differ by the same amount.
    """

    standard: Summary
    sam: Summary
    difference: float
    low: float
    high: float
    n: int
    verdict: Verdict
    equal_differences: bool = False

    @property
    def has_interval(self) -> bool:
        """Whether the interval means something: not where too few differences show no spread."""
        return interval_holds(self.n, self.equal_differences)


def interval_holds(n: int, equal_differences: bool) -> bool:
    """Tells whether an interval over n pairs means something; see `compare_pairs` on equal differences."""
    return n >= 2 and (not equal_differences or 2 / 2**n < 1 - CONFIDENCE)


def summarize(values: Sequence[float]) -> Summary:
    """Returns the mean and standard deviation of some numbers."""
    n = len(values)
    return Summary(
        mean=float(np.mean(values)) if n else math.nan,
        sd=float(np.std(values, ddof=1)) if n > 1 else math.nan,
        n=n,
    )


def compare_pairs(standard: Sequence[float], sam: Sequence[float]) -> PairedComparison:
    """Compares paired scores.

    SAM is called better or worse only where the 95% interval of Student's t for the mean
    difference leaves out zero.

    Where every pair differs by the same amount the differences show no spread, the interval
    shrinks to a point and the t distribution has nothing to say. This happens by chance on small
    evaluation sets, where scores move in large steps. The sign test still holds there: n equal
    signs have the two-sided probability 2 / 2**n, which is below 5% from n = 6 on. So equal
    differences other than zero count as better or worse from six seeds on, and not before.

    Args:
        standard: Scores of the standard runs, higher is better.
        sam: Scores of the SAM runs, in the same order of seeds.

    Returns:
        The comparison.

    Raises:
        ValueError: If the two do not have the same length.

    Source:
        The interval is the one of the paired t test, `scipy.stats.ttest_rel`.
    """
    if len(standard) != len(sam):
        raise ValueError(f"Invalid pairs: {len(standard)} standard scores and {len(sam)} SAM scores.")
    differences = np.subtract(sam, standard, dtype=float)
    n = len(differences)
    difference = float(differences.mean()) if n else math.nan
    low, high, equal = math.nan, math.nan, False
    verdict: Verdict = "not enough seeds"
    if n >= 2:
        equal = float(np.ptp(differences)) <= EQUAL_POINTS
        error = float(stats.sem(differences))
        reach = 0.0 if equal else float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
        low, high = difference - reach, difference + reach
        verdict = "no difference detected"
        if interval_holds(n, equal) and not (equal and abs(difference) <= EQUAL_POINTS):
            verdict = "better" if low > 0 else "worse" if high < 0 else verdict
    return PairedComparison(
        standard=summarize(standard),
        sam=summarize(sam),
        difference=difference,
        low=low,
        high=high,
        n=n,
        verdict=verdict,
        equal_differences=equal,
    )
