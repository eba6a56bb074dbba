"""The interval over seeds and test examples together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lowland.statistics import crossed_interval
from lowland.statistics.interval import mean_and_reach


def coverage(
    seeds: int, examples: int, effects: tuple[float, float, float], experiments: int, seed: int
) -> float:
    """How often the interval holds the true mean, 0, of simulated experiments."""
    rng = np.random.default_rng(seed)
    of_seed, of_example, noise = effects
    held = 0
    for _ in range(experiments // 250):
        differences = (
            of_seed * rng.standard_normal((250, seeds, 1), np.float32)
            + of_example * rng.standard_normal((250, 1, examples), np.float32)
            + noise * rng.standard_normal((250, seeds, examples), np.float32)
        )
        mean, reach = mean_and_reach(differences)
        held += int((abs(mean) <= reach).sum())
    return held / (experiments // 250 * 250)


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize("effects", [(0.0, 0.0, 1.0), (0.1, 0.3, 1.0), (0.3, 0.1, 1.0), (0.1, 1.0, 1.0)])
def test_coverage_is_95_percent(seeds: int, effects: tuple[float, float, float]) -> None:
    """From five seeds on the interval holds the true mean in 95% of experiments, to within a point."""
    experiments = 4000
    found = coverage(seeds, 60, effects, experiments, seed=seeds)
    # One point, and four binomial standard errors of the simulation (0.34 points each).
    assert found == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.95 * 0.05 / experiments))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize("effects", [(0.0, 0.0, 1.0), (0.1, 0.3, 1.0), (0.3, 0.1, 1.0), (0.05, 1.0, 1.0)])
def test_coverage_is_95_percent_in_many_experiments(seeds: int, effects: tuple[float, float, float]) -> None:
    """The same with 20,000 experiments of 200 examples: within a point of 95%."""
    experiments = 20_000
    found = coverage(seeds, 200, effects, experiments, seed=seeds)
    # One point, and two binomial standard errors of the simulation (0.15 points each).
    assert found == pytest.approx(0.95, abs=0.01 + 2 * np.sqrt(0.95 * 0.05 / experiments))


@pytest.mark.parametrize("effects", [(0.0, 0.0, 1.0), (0.05, 0.0, 1.0), (0.1, 0.3, 1.0), (0.3, 0.1, 1.0)])
def test_three_seeds_are_covered_nearly_as_well(effects: tuple[float, float, float]) -> None:
    """With three seeds it holds the mean in 93 to 98% of experiments."""
    experiments = 4000
    luck = 4 * np.sqrt(0.95 * 0.05 / experiments)  # binomial standard errors of the simulation
    assert 0.93 - luck <= coverage(3, 60, effects, experiments, seed=3) <= 0.98 + luck


def test_coverage_of_right_and_wrong() -> None:
    """Differences of right and wrong answers, -100, 0 or 100, are covered like normal ones."""
    rng = np.random.default_rng(0)
    experiments, held = 3000, 0
    for _ in range(experiments // 250):
        # Hard and easy examples, and examples that suit one arm; on the whole the arms are alike.
        easy = rng.normal(1.5, 1.5, (250, 1, 150))
        tilt = rng.normal(0, 0.4, (250, 1, 150))
        first, second = (
            rng.random((250, 8, 150)) < 1 / (1 + np.exp(-easy - way * tilt - rng.normal(0, 0.2, (250, 8, 1))))
            for way in (-1, 1)
        )
        mean, reach = mean_and_reach(100.0 * second - 100.0 * first)
        held += int((abs(mean) <= reach).sum())
    # One point above and below, and four binomial standard errors (0.4 points each).
    assert held / experiments == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.95 * 0.05 / experiments))


def test_an_example_s_effect_alone_gives_the_interval_over_examples() -> None:
    """Where all seeds agree the interval is about that of the t test over examples."""
    rng = np.random.default_rng(1)
    reference = np.tile(rng.normal(size=500), (5, 1))
    arm = reference + np.tile(rng.normal(0.1, 1, size=500), (5, 1))
    found = crossed_interval(reference, arm)
    expected = stats.ttest_1samp((arm - reference)[0], 0).confidence_interval(0.95)
    # All but rounding of the variance is the examples' and so are the degrees of freedom.
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-6)


def test_a_seed_s_effect_alone_gives_the_interval_over_seeds() -> None:
    """Where all examples agree the interval is that of the paired t test over seeds."""
    rng = np.random.default_rng(2)
    differences = np.tile(rng.normal(size=(4, 1)), (1, 50))
    found = crossed_interval(np.zeros_like(differences), differences)
    expected = stats.ttest_1samp(differences[:, 0], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-9)  # rounding in fp64


def test_bad_input_is_refused() -> None:
    """Other shapes, a single seed and numbers that are not finite are refused."""
    two = np.zeros((2, 3))
    with pytest.raises(ValueError, match="same seeds and examples"):
        crossed_interval(two, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="two or more"):
        crossed_interval(two[:1], two[:1])
    with pytest.raises(ValueError, match="finite"):
        crossed_interval(two, two + np.nan)
