"""What a number of seeds can see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lowland.statistics import Spread, power, seeds_for, spread_of_runs
from lowland.statistics.interval import critical

# Four binomial standard errors of 20,000 experiments, rounded up.
LUCK = 4 * math.sqrt(0.8 * 0.2 / 20_000)


def exact(value: float) -> Spread:
    """A spread that is known."""
    return Spread(value=value, freedom=None, source="given")


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_known_spread_is_the_noncentral_t(seeds: int) -> None:
    """With a known spread the difference seen has 80% power by SciPy's noncentral t distribution."""
    shift = power(seeds, exact(1.3)).sees / 1.3 * math.sqrt(seeds)
    chance = stats.nct.sf(stats.t.isf(0.025, seeds - 1), seeds - 1, shift)
    assert chance == pytest.approx(0.8, abs=0.002)  # 400 slices of the standard deviation


@pytest.mark.parametrize("pilot", [2, 3, 5, 10])
@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_statement_from_a_pilot_is_right(pilot: int, seeds: int) -> None:
    """Over pilots and experiments, what the seeds are said to see is called in 4 of 5 cases."""
    rng = np.random.default_rng(pilot * 100 + seeds)
    pilots = rng.normal(0, 2.0, (20_000, pilot)).std(axis=1, ddof=1)
    factor = power(seeds, Spread(value=1.0, freedom=pilot - 1, source="")).sees
    pairs = rng.normal(0, 2.0, (20_000, seeds)) + (factor * pilots)[:, None]
    low = pairs.mean(1) - critical(seeds) * pairs.std(axis=1, ddof=1) / math.sqrt(seeds)
    # Two points for the slices of the standard deviation: five are promised.
    assert (low > 0).mean() == pytest.approx(0.8, abs=0.02 + LUCK)


def test_seeds_for_is_the_smallest_number() -> None:
    """The number of seeds for a difference sees it, and one fewer does not."""
    spread = Spread(value=1.3, freedom=6, source="")
    seeds = seeds_for(1.0, spread)
    assert seeds is not None
    assert power(seeds, spread).sees <= 1.0 < power(seeds - 1, spread).sees
    assert seeds_for(0.001, spread) is None
    with pytest.raises(ValueError, match="above 0"):
        seeds_for(0.0, spread)


def test_more_seeds_see_more() -> None:
    """The difference that is seen falls with the seeds and grows with the doubt about the spread."""
    sees = [power(n, exact(1.0)).sees for n in range(2, 40)]
    assert sees == sorted(sees, reverse=True)
    doubts = [power(5, Spread(value=1.0, freedom=f, source="")).sees for f in (1, 2, 5, 50)]
    assert doubts == sorted(doubts, reverse=True)


def test_spread_of_runs() -> None:
    """The spread of a difference is root two times the pooled deviation of runs within arms."""
    found = spread_of_runs([[80.0, 82.0], [70.0, 72.0, 74.0], [5.0]])
    # Squares: 2 + 8 over 1 + 2 degrees of freedom.
    assert found.value == pytest.approx(math.sqrt(2 * 10 / 3))
    assert (found.freedom, found.source) == (3, "from 5 finished runs")
    with pytest.raises(ValueError, match="two or more"):
        spread_of_runs([[1.0], [2.0]])


def test_sentence() -> None:
    """The statement as the plan prints it, with a known spread and with one from few runs."""
    assert power(5, Spread(value=1.3, freedom=None, source="from the records")).sentence == (
        "5 seeds detect 2.2 points with 80% power (standard deviation 1.3, from the records)"
    )
    assert power(5, Spread(value=1.3, freedom=2, source="from 3 finished runs")).sentence == (
        "5 seeds detect 3.5 points with 80% power (standard deviation 1.3, from 3 finished runs)"
    )
    assert "too few to detect" in power(2, exact(40.0)).sentence  # more than 100 points
    assert math.isinf(power(1, exact(1.0)).sees)
    assert "any difference" in power(1, exact(1.0)).sentence
