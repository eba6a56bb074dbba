"""Looks after every seed: how often they give a false verdict, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.statistics import EQUAL_POINTS, Kind, compare_pairs, critical, decide, holm
from lowland.statistics.interval import equal_seeds, p_value

MOST = 40
Draw = Callable[[np.random.Generator, int], np.ndarray]


def running_intervals(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval after every difference, for many experiments at once. `# (experiments, seeds)`."""
    n = np.arange(1, differences.shape[1] + 1)
    mean = differences.cumsum(1) / n
    # Deviations from each experiment's first number keep the sum of squares from cancelling.
    moved = differences - differences[:, :1]
    squares = np.maximum((moved**2).cumsum(1) - n * (mean - differences[:, :1]) ** 2, 0)
    highest, lowest = np.maximum.accumulate(moved, axis=1), np.minimum.accumulate(moved, axis=1)
    equal = highest - lowest <= EQUAL_POINTS
    sd = np.where(equal, 0.0, np.sqrt(squares / np.maximum(n - 1, 1)))
    reaches = np.array([math.inf] + [critical(int(k), sequential=True) for k in n[1:]])
    with np.errstate(invalid="ignore"):
        reach = reaches * sd / np.sqrt(n)
    reach = np.where(equal, np.where(n < equal_seeds(sequential=True), math.inf, 0.0), reach)
    return mean - reach, mean + reach


def normal(rng: np.random.Generator, experiments: int) -> np.ndarray:
    """Differences for which the interval is made."""
    return rng.standard_normal((experiments, MOST))


def heavy(rng: np.random.Generator, experiments: int) -> np.ndarray:
    """Differences with outliers."""
    return rng.standard_t(3, (experiments, MOST))


def steps(rng: np.random.Generator, experiments: int) -> np.ndarray:
    """Scores that move in large steps, as on a small test set."""
    return rng.normal(0, 1, (experiments, MOST)).round()


def signs(rng: np.random.Generator, experiments: int) -> np.ndarray:
    """The coarsest steps of all: one up or one down."""
    return rng.choice([-1.0, 1.0], (experiments, MOST))


NULL = [normal, heavy, steps, signs]


def false_verdicts(draw: Draw, experiments: int) -> float:
    """The share of experiments without a difference in which a look at 2 to 40 seeds says otherwise."""
    low, high = running_intervals(draw(np.random.default_rng(0), experiments))
    return float(((low > 0) | (high < 0)).any(1).mean())


@pytest.mark.parametrize("draw", NULL)
def test_at_most_five_percent_of_null_experiments_get_a_verdict(draw: Draw) -> None:
    """With a look after every seed up to 40, at most 5% of 10,000 null experiments get a verdict."""
    assert false_verdicts(draw, 10_000) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("draw", NULL)
def test_at_most_five_percent_of_many_more(draw: Draw) -> None:
    """The same with 100,000 null experiments, so that luck has little part in it."""
    assert false_verdicts(draw, 100_000) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "most"), [(1, 16), (3, 10)])
def test_at_most_five_percent_through_the_decision_itself(arms: int, most: int) -> None:
    """In 10,000 null experiments that stop at the first verdict, one or more of Holm's is false in 5%."""
    rng = np.random.default_rng(5)
    false = 0
    for differences in rng.standard_normal((10_000, arms, MOST)):
        for n in range(5, most):
            found = [compare_pairs([0.0] * n, of_arm[:n].tolist(), sequential=True) for of_arm in differences]
            adjusted = holm([comparison.p for comparison in found])
            kinds = {
                decide(comparison, adjusted_p=p, margin=0.05).kind
                for comparison, p in zip(found, adjusted, strict=True)
            }
            if kinds & {Kind.BETTER, Kind.WORSE}:
                false += 1
                break
    assert false <= 500


def test_the_plain_interval_does_not_hold_under_looks() -> None:
    """Student's t with a look after every seed calls a difference in far more than 5% of null experiments."""
    differences = normal(np.random.default_rng(0), 10_000)
    n = np.arange(2, MOST + 1)
    mean = differences.cumsum(1)[:, 1:] / n
    squares = (differences**2).cumsum(1)[:, 1:]
    error = np.sqrt((squares - n * mean**2) / (n - 1) / n)
    reach = np.array([critical(int(k)) for k in n]) * error
    # It is near 30%; a quarter is six-fold what is promised, and out of reach of the simulation's luck.
    assert (abs(mean) > reach).any(1).mean() > 0.25


@given(st.lists(st.integers(-40, 40), min_size=2, max_size=30))
def test_many_experiments_at_once_are_those_one_by_one(steps: list[int]) -> None:
    """The vectorised intervals are those from which verdicts are decided, after every seed."""
    differences = [step / 8 for step in steps]
    low, high = running_intervals(np.array([differences]))
    for n in range(2, len(differences) + 1):
        found = compare_pairs([0.0] * n, differences[:n], sequential=True)
        if found.equal_differences or math.isnan(found.low):
            assert found.has_interval == math.isfinite(low[0, n - 1])
        else:
            # Sums of squares up to 1000 in fp64, under a root.
            assert (found.low, found.high) == pytest.approx((low[0, n - 1], high[0, n - 1]), abs=1e-7)


@pytest.mark.parametrize(
    ("effect", "mean_seeds", "decided"), [(0.5, 31, 0.5), (1.0, 14, 0.99), (2.0, 7.5, 0.99)]
)
def test_price_in_seeds(effect: float, mean_seeds: float, decided: float) -> None:
    """A difference of one spread is decided after 14 seeds on average, where 10 fixed seeds see 4 of 5."""
    low, _ = running_intervals(normal(np.random.default_rng(0), 10_000) + effect)
    hit = low > 0
    seeds = np.where(hit.any(1), hit.argmax(1) + 1, MOST)
    # Measured 30.4, 13.4 and 6.9 seeds, and 56%, 100% and 100%; the limits are a few standard errors above.
    assert seeds.mean() < mean_seeds
    assert hit.any(1).mean() > decided


def test_all_intervals_hold_the_true_mean_at_once() -> None:
    """In 95% of experiments or more every one of the 39 intervals holds the true mean."""
    low, high = running_intervals(normal(np.random.default_rng(1), 10_000) * 3 + 7)
    assert ((low <= 7) & (high >= 7)).all(1).mean() >= 0.95


def test_bound_solves_its_equation() -> None:
    """At the bound the Bayes factor against no effect is 1 / alpha, computed without the closed form."""
    from scipy import integrate, stats

    n = 12
    t = critical(n, sequential=True)
    # The factor, by integrating the noncentral t density over effect sizes drawn from N(0, 1).
    over = integrate.quad(
        lambda effect: stats.nct.pdf(t, n - 1, effect * math.sqrt(n)) * stats.norm.pdf(effect), -8, 8
    )[0]
    # Quadrature and scipy's density agree to about 1e-8.
    assert over / stats.t.pdf(t, n - 1) == pytest.approx(20, rel=1e-6)
    assert p_value(t, n, sequential=True) == pytest.approx(0.05)
    assert p_value(1.1 * t, n, sequential=True) < 0.05 < p_value(0.9 * t, n, sequential=True)


def test_few_looks_decide_nothing() -> None:
    """Four seeds decide nothing however large the difference, nor do fewer than seven equal differences."""
    assert critical(4, sequential=True) == math.inf
    four = compare_pairs([0.0] * 4, [50.0, 51, 52, 53], sequential=True)
    assert not four.has_interval and decide(four).kind is Kind.UNDECIDED
    for n, kind in ((6, Kind.UNDECIDED), (7, Kind.BETTER)):
        assert decide(compare_pairs([0.0] * n, [50.0] * n, sequential=True)).kind is kind


def test_looks_make_a_verdict_stricter() -> None:
    """The same pairs that a fixed number of seeds decides may be undecided where seeds were added."""
    pairs = ([80.0, 81.0, 82.0, 80.5, 81.0], [81.0, 83.5, 83.0, 82.0, 82.9])
    fixed, looked = (decide(compare_pairs(*pairs, sequential=looks)) for looks in (False, True))
    assert (fixed.kind, looked.kind) == (Kind.BETTER, Kind.UNDECIDED)
    assert looked.p > 0.05 > fixed.p
    assert looked.seeds_needed is not None
    assert decide(compare_pairs([80.0, 81.0] * 8, [83.0, 83.5] * 8, sequential=True)).kind is Kind.BETTER
