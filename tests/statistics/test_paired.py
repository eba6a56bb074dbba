"""Paired comparison over seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from lowland.statistics import compare_pairs, summarize

scores = st.floats(min_value=0, max_value=100, allow_nan=False)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_interval_is_the_paired_t_test_s(n: int) -> None:
    """The difference and its interval are those of SciPy's paired t test."""
    rng = np.random.default_rng(n)
    standard, sam = rng.normal(80, 2, n), rng.normal(81, 2, n)
    expected = stats.ttest_rel(sam, standard).confidence_interval(0.95)
    found = compare_pairs(standard.tolist(), sam.tolist())
    # The two sum in another order; scores near 100 in double precision agree to about 1e-12.
    assert found.difference == pytest.approx(np.mean(sam - standard), abs=1e-10)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-10)
    assert found.n == n


def test_closed_form_for_two_seeds() -> None:
    """Differences of 1 and 3 give 2 with an interval of 12.706 standard errors, worked by hand."""
    found = compare_pairs([50.0, 60.0], [51.0, 63.0])
    assert found.difference == 2
    # Student's t for one degree of freedom is tan(0.475 pi) = 12.7062; the standard error is 1.
    assert found.high == pytest.approx(2 + math.tan(0.475 * math.pi))
    assert found.sign == 0
    assert found.sd == pytest.approx(math.sqrt(2))


@given(st.lists(st.tuples(scores, scores), max_size=12))
def test_verdict_agrees_with_the_p_value(pairs: list[tuple[float, float]]) -> None:
    """Better or worse is said where SciPy's paired t test has p below 5%, or for six equal differences."""
    standard, sam = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = compare_pairs(standard, sam)
    if len(pairs) < 2:
        assert found.sign == 0
        return
    called = 1 if found.difference > 0 else -1
    if found.equal_differences:
        real = len(pairs) >= 6 and abs(found.difference) > 1e-9
    else:
        p = stats.ttest_rel(sam, standard).pvalue
        assume(abs(p - 0.05) > 1e-9)  # there the two may differ by rounding
        real = p < 0.05
    assert found.sign == (called if real else 0)


@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=12))
def test_swapping_the_arms_turns_the_verdict_round(pairs: list[tuple[float, float]]) -> None:
    """With the arms swapped, better becomes worse and nothing else changes."""
    standard, sam = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    there, back = compare_pairs(standard, sam), compare_pairs(sam, standard)
    assert back.sign == -there.sign
    assert (back.low, back.high) == (-there.high, -there.low)


@pytest.mark.parametrize(
    ("n", "step", "sign"),
    [
        (2, 0.1, 0),
        (5, 0.1, 0),
        (6, 0.1, 1),
        (6, -0.1, -1),
        (20, 0.0, 0),
    ],
)
def test_equal_differences_need_six_seeds(n: int, step: float, sign: int) -> None:
    """Differences that are equal but for rounding prove nothing before the sign test would."""
    standard = [70.1 + seed / 3 for seed in range(n)]
    found = compare_pairs(standard, [score + step for score in standard])
    assert found.equal_differences
    assert found.low == found.high == found.difference
    assert found.sign == sign


def test_no_difference_is_called_by_chance_in_five_percent() -> None:
    """Where the arms do not differ, about one comparison in twenty says that they do."""
    rng = np.random.default_rng(0)
    n = 2000
    called = sum(
        compare_pairs(rng.normal(size=5).tolist(), rng.normal(size=5).tolist()).sign != 0 for _ in range(n)
    )
    # Four standard deviations of a binomial with p = 0.05.
    assert called / n == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / n))


def test_summary_of_few() -> None:
    """One number has a mean and no spread, none has neither."""
    assert summarize([3.0]).mean == 3
    assert math.isnan(summarize([3.0]).sd)
    assert math.isnan(summarize([]).mean)


def test_pairs_must_match() -> None:
    """Unequal numbers of scores are refused."""
    with pytest.raises(ValueError, match="2 scores of the reference and 1 of the arm"):
        compare_pairs([1.0, 2.0], [1.0])
