"""What a number of seeds can see, and how many seeds a difference needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from lowland.statistics.interval import critical

CASES = 0.8  # how often a difference that a number of seeds "sees" is called by its verdict
MOST_SEEDS = 1000  # no prediction goes beyond


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How much the difference of two arms varies from seed to seed."""

    value: float  # standard deviation of the difference, in the outcome's unit
    freedom: int | None  # degrees of freedom behind it; `None` where it is taken for exact
    source: str  # for example `from 3 finished runs`


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a number of seeds of each arm can see."""

    seeds: int
    sees: float  # the smallest true difference seen in 4 of 5 cases; infinite for fewer than two seeds
    spread: Spread

    @property
    def sentence(self) -> str:
        """For example `5 seeds detect 2.2 points with 80% power (standard deviation 1.3, from 3 runs)`."""
        spread = f"standard deviation {_short(self.spread.value)}, {self.spread.source}"
        if math.isinf(self.sees):
            return f"{self.seeds} seed{'s' * (self.seeds != 1)} cannot detect any difference, however large."
        if self.sees > 100:
            return f"{self.seeds} seeds are too few to detect any difference with 80% power ({spread})"
        return f"{self.seeds} seeds detect {_short(self.sees)} points with 80% power ({spread})"


def spread_of_runs(scores: Sequence[Sequence[float]]) -> Spread:
    """Estimates the spread of a difference from finished runs that are no pairs: for each arm its scores.

    The variance of a difference is taken as twice that of a score, pooled within the arms.
    """
    counted = [np.asarray(of_arm, dtype=float) for of_arm in scores if len(of_arm) >= 2]
    freedom = sum(len(of_arm) - 1 for of_arm in counted)
    if freedom == 0:
        raise ValueError("A spread needs two or more finished runs of an arm.")
    squares = sum(float(((of_arm - of_arm.mean()) ** 2).sum()) for of_arm in counted)
    source = f"from {sum(map(len, counted))} finished runs"
    return Spread(value=math.sqrt(2 * squares / freedom), freedom=freedom, source=source)


def power(seeds: int, spread: Spread) -> Power:
    """Says what a number of seeds of each arm can see, allowing for the error of an estimated spread."""
    sees = _visible(seeds, spread.freedom) * spread.value if seeds >= 2 else math.inf
    return Power(seeds=seeds, sees=sees, spread=spread)


def seeds_for(detect: float, spread: Spread, most: int = MOST_SEEDS) -> int | None:
    """Finds the fewest seeds that see a difference in 4 of 5 cases; `None` if `most` do not suffice."""
    if not detect > 0:
        raise ValueError(f"The difference to detect must be above 0, not {detect}.")
    if power(most, spread).sees > detect:
        return None
    low, high = 1, most  # `low` seeds do not see it, `high` seeds do
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, spread).sees <= detect else (middle, high)
    return high


@lru_cache(maxsize=1024)
def _visible(seeds: int, freedom: int | None) -> float:
    """Solves for the difference, in spreads, that is called in 4 of 5 cases."""
    # The chance grows with the difference, from 2.5% to 1, so that the root is bracketed.
    root = optimize.brentq(lambda log: _chance(math.exp(log), seeds, freedom) - CASES, -8, 16, xtol=1e-5)
    return math.exp(root)


def _chance(difference: float, seeds: int, freedom: int | None) -> float:
    """Computes how often the interval of `seeds` pairs leaves out zero on the difference's side.

    This is the mean of the normal distribution function over both standard deviations: the noncentral t
    distribution, which libraries compute badly for large shifts.
    """
    estimates = np.ones(1) if freedom is None else _deviations(freedom)
    shift = difference * math.sqrt(seeds) * estimates[:, None]  # (slices, 1)
    return float(special.ndtr(shift - critical(seeds) * _deviations(seeds - 1)).mean())


@lru_cache(maxsize=256)
def _deviations(freedom: int) -> np.ndarray:
    """Gives the middles of 400 equally probable slices of a standard deviation's estimate, true value 1."""
    upper = 1 - (np.arange(400) + 0.5) / 400
    deviations: np.ndarray = np.sqrt(special.chdtri(freedom, upper) / freedom)
    return deviations


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"
