"""How many standard errors an interval reaches, for a fixed number of numbers and for one that grows.

An interval of Student's t holds for a number of seeds that was fixed before. The sequential one is wider, so
that all looks together, at any number of seeds, are wrong in at most 5% of experiments.
"""

from __future__ import annotations

import math

from scipy import special

CONFIDENCE = 0.95

# Differences that agree to this many points are equal: a percentage near 100 in double
# precision is rounded at about 1e-14, and no metric moves in steps anywhere near 1e-9.
EQUAL_POINTS = 1e-9


def critical(n: int, confidence: float = CONFIDENCE, *, sequential: bool = False) -> float:
    """Returns how many standard errors the interval for a mean of n numbers reaches to each side.

    It is infinite where so few numbers decide nothing; `sequential` where there were other looks, or will be.

    Source:
        Student's t with n - 1 degrees of freedom. Sequential: Wang and Ramdas, "Anytime-valid t-tests and
        confidence sequences for Gaussian means with unknown variance" (2024), the Gaussian mixture: the Bayes
        factor for an effect size drawn from N(0, 1) against none, under the right Haar prior of the
        variance, is a martingale under the null whatever the variance, and by Ville's inequality it ever
        exceeds 1 / alpha with probability alpha at most.
    """
    if not sequential:
        return float(special.stdtrit(n - 1, (1 + confidence) / 2))
    ratio = (math.sqrt(1 + n) / (1 - confidence)) ** (2 / n)
    return math.inf if ratio >= 1 + n else math.sqrt((n - 1) * (ratio - 1) / (1 - ratio / (1 + n)))


def p_value(t: float, n: int, *, sequential: bool = False) -> float:
    """Returns the p value of a mean that is t standard errors from 0; below 5% where t exceeds `critical`."""
    if not sequential:
        return float(2 * special.stdtr(n - 1, -abs(t)))
    of_mean = t**2 / (n - 1)
    ratio = (1 + of_mean) / (1 + of_mean / (1 + n))
    return min(1.0, math.sqrt(1 + n) * math.exp(-n / 2 * math.log(ratio)))


def equal_seeds(sequential: bool) -> int:
    """Returns from how many seeds on equal differences other than zero count, by their sign."""
    # n equal signs have the two-sided probability 2 / 2**n: 3.1% for 6, and at the first of many looks 1.6%
    # for 7, which leaves room for the looks that follow.
    return 7 if sequential else 6
