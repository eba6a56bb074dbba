"""Many verdicts at once."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.statistics import holm


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_is_the_closed_test_of_bonferroni_s(p_values: list[float]) -> None:
    """An adjusted p value is the largest Bonferroni p value over all sets of hypotheses that hold it."""
    everything = range(len(p_values))
    sets = [chosen for k in everything for chosen in itertools.combinations(everything, k + 1)]
    expected = [
        max(min(1.0, len(chosen) * min(p_values[i] for i in chosen)) for chosen in sets if index in chosen)
        for index in everything
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_nan_does_not_count() -> None:
    """A verdict without a p value stays without one and makes the others no stricter."""
    found = holm([0.03, math.nan, 0.01])
    assert found[0] == 0.03
    assert math.isnan(found[1])
    assert found[2] == 0.02


def test_error_over_all_verdicts() -> None:
    """Of ten dependent outcomes one or more is called falsely in at most 5% of experiments."""
    from scipy import stats

    rng = np.random.default_rng(0)
    common = rng.normal(size=(4000, 5, 1))
    p = stats.ttest_1samp(common + rng.normal(size=(4000, 5, 10)), 0, axis=1).pvalue
    wrong = np.mean([min(holm(row)) < 0.05 for row in p.tolist()])
    # Three binomial standard errors above 5%.
    assert wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
