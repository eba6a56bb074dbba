"""Compares two arms seed by seed.

A seed fixes all that is random for both arms, so that their differences are the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowland.statistics.interval import EQUAL_POINTS, critical, equal_seeds, p_value


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean and spread of some numbers."""

    mean: float  # nan when there are none
    sd: float  # standard deviation with n - 1 below the line; nan for fewer than two
    n: int


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """An arm against the reference over pairs of runs that share a seed."""

    difference: float  # mean of the arm minus the reference; nan without a pair
    low: float  # ends of the 95% interval for the mean difference; nan for fewer than two pairs
    high: float
    n: int  # pairs
    equal_differences: bool  # all of two or more pairs differ by the same amount
    sd: float  # of the differences; nan for fewer than two pairs
    higher: int  # pairs in which the arm scored higher
    lower: int
    least: float  # the smallest score of all these runs; nan without a pair
    most: float
    sequential: bool  # seeds were added after looking, for which the interval allows

    @property
    def has_interval(self) -> bool:
        """Whether the interval means something: not where too few differences show no spread."""
        enough = not self.equal_differences or self.n >= equal_seeds(self.sequential)
        return enough and math.isfinite(self.low)

    @property
    def sign(self) -> int:
        """1 where the whole interval lies above zero, -1 below it, else 0."""
        if not self.has_interval or (self.equal_differences and abs(self.difference) <= EQUAL_POINTS):
            return 0
        return int(self.low > 0) - int(self.high < 0)

    @property
    def p(self) -> float:
        """Two-sided p value of the interval's test, of the sign test where all differences are equal."""
        if self.n < 2:
            return math.nan
        if self.equal_differences:
            counts = abs(self.difference) > EQUAL_POINTS and (self.has_interval or not self.sequential)
            return 2 / 2**self.n if counts else 1.0
        return p_value(self.difference * math.sqrt(self.n) / self.sd, self.n, sequential=self.sequential)


def summarize(values: Sequence[float]) -> Summary:
    """Returns the mean and standard deviation of some numbers."""
    n = len(values)
    return Summary(
        mean=float(np.mean(values)) if n else math.nan,
        sd=float(np.std(values, ddof=1)) if n > 1 else math.nan,
        n=n,
    )


def compare_pairs(
    reference: Sequence[float], arm: Sequence[float], *, sequential: bool = False
) -> PairedComparison:
    """Compares paired scores: the interval is that of the paired t test, `scipy.stats.ttest_rel`.

    Where every pair differs by the same amount, as happens on small evaluation sets, the interval shrinks to
    a point and the t distribution has nothing to say. The sign test still holds there, so that equal
    differences other than zero count from `equal_seeds` on.

    Args:
        reference: Scores of the reference's runs.
        arm: Scores of the arm's runs, in the same order of seeds.
        sequential: Whether seeds were added after looking: then the interval is wider; see `critical`.
    """
    if len(reference) != len(arm):
        raise ValueError(
            f"Invalid pairs: {len(reference)} scores of the reference and {len(arm)} of the arm."
        )
    differences = np.subtract(arm, reference, dtype=float)
    n = len(differences)
    difference = float(differences.mean()) if n else math.nan
    reach, sd, equal = math.nan, math.nan, False
    if n >= 2:
        equal = float(np.ptp(differences)) <= EQUAL_POINTS
        sd = 0.0 if equal else float(differences.std(ddof=1))
        reach = 0.0 if equal else critical(n, sequential=sequential) * (sd / math.sqrt(n))
        reach = reach if math.isfinite(reach) else math.nan
    return PairedComparison(
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        n=n,
        equal_differences=equal,
        sd=sd,
        higher=int((differences > EQUAL_POINTS).sum()),
        lower=int((differences < -EQUAL_POINTS).sum()),
        least=float(min([*reference, *arm], default=math.nan)),
        most=float(max([*reference, *arm], default=math.nan)),
        sequential=sequential,
    )
