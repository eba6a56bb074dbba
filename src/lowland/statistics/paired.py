"""Compares two arms seed by seed.

A seed fixes all that is random for both arms, so that their differences are the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lowland.statistics.interval import EQUAL_POINTS, critical, equal_seeds, p_value

Finding = Literal["better", "worse", "no difference detected", "not enough seeds"]


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
    """An arm against the reference over pairs of runs that share a seed.

    Attributes:
        reference: The reference's runs of the pairs.
        arm: The arm's runs of the pairs.
        difference: Mean of the arm minus the reference, in points; nan without a pair.
        low: Lower end of the 95% interval for the mean difference; nan for fewer than two pairs.
        high: Upper end.
        n: Number of pairs.
        equal_differences: Whether all of two or more pairs differ by the same amount.
        sd: Standard deviation of the differences; nan for fewer than two pairs.
        higher: In how many pairs the arm scored higher.
        lower: In how many it scored lower.
        least: The smallest score of all these runs; nan without a pair.
        most: The largest.
        sequential: Whether seeds were added after looking, for which the interval allows.
    """

    reference: Summary
    arm: Summary
    difference: float
    low: float
    high: float
    n: int
    equal_differences: bool
    sd: float
    higher: int
    lower: int
    least: float
    most: float
    sequential: bool

    @property
    def has_interval(self) -> bool:
        """Whether the interval means something: not where too few differences show no spread."""
        enough = not self.equal_differences or self.n >= equal_seeds(self.sequential)
        return enough and math.isfinite(self.low)

    @property
    def verdict(self) -> Finding:
        """What the interval says about zero; `lowland.statistics.decide` says more."""
        if self.n < 2:
            return "not enough seeds"
        if self.has_interval and not (self.equal_differences and abs(self.difference) <= EQUAL_POINTS):
            if self.low > 0:
                return "better"
            if self.high < 0:
                return "worse"
        return "no difference detected"

    @property
    def p(self) -> float:
        """Two-sided p value of the interval's test, of the sign test where all differences are equal.

        nan for fewer than two pairs.
        """
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
    """Compares paired scores.

    The arm is called better or worse only where the 95% interval for the mean difference leaves out zero.

    Where every pair differs by the same amount the differences show no spread, the interval
    shrinks to a point and the t distribution has nothing to say. This happens by chance on small
    evaluation sets, where scores move in large steps. The sign test still holds there, so that equal
    differences other than zero count from `equal_seeds` on, and not before.

    Args:
        reference: Scores of the reference's runs, higher is better.
        arm: Scores of the arm's runs, in the same order of seeds.
        sequential: Whether seeds were added after looking: then the interval is wider, and without one
            its ends are nan.

    Raises:
        ValueError: If the two do not have the same length.

    Source:
        The interval is the one of the paired t test, `scipy.stats.ttest_rel`; sequential, see `critical`.
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
        reference=summarize(reference),
        arm=summarize(arm),
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
