"""What came out: one verdict for a pair of arms and an outcome."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.statistics import Kind, compare_pairs, decide, holm

scores = st.floats(min_value=0, max_value=100, allow_nan=False)
pairs = st.lists(st.tuples(scores, scores), max_size=12)


def verdict(reference: list[float], arm: list[float], **options: object) -> Kind:
    """What came out, and no more."""
    return decide(compare_pairs(reference, arm), **options).kind  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reference", "arm", "expected"),
    [
        ([80, 81, 82], [82, 83.1, 84], Kind.BETTER),
        ([82, 83.1, 84], [80, 81, 82], Kind.WORSE),
        ([80, 81, 82, 80], [71, 60, 75, 78], Kind.UNDECIDED),
        ([80, 81, 82], [80.1, 81.2, 82.1], Kind.EQUAL),  # real, and smaller than anybody cares for
        ([0, 0, 0], [0, 0, 0], Kind.NOTHING_LEARNED),
        ([0], [0], Kind.NOTHING_LEARNED),
        ([100, 100], [100, 100], Kind.NOTHING_LEFT),
        ([100, 100, 100], [98, 97, 98.5], Kind.WORSE),
        ([80], [90], Kind.TOO_FEW_SEEDS),
        ([], [], Kind.TOO_FEW_SEEDS),
        ([80] * 5, [81] * 5, Kind.UNDECIDED),
        ([80] * 6, [81] * 6, Kind.BETTER),
        ([80] * 5, [80] * 5, Kind.UNDECIDED),
        ([80] * 6, [80] * 6, Kind.EQUAL),
    ],
)
def test_each_kind(reference: list[float], arm: list[float], expected: Kind) -> None:
    """Nothing learned, nothing left, undecided and equal are told apart, and better and worse from them."""
    assert verdict(reference, arm, floor=0.0, ceiling=100.0) is expected


def test_floor_is_the_best_answer_without_the_input() -> None:
    """Runs at or below the commonest class's share have learned nothing; one above it has."""
    assert verdict([51.0, 49.0], [51.0, 48.0], floor=51.0) is Kind.NOTHING_LEARNED
    assert verdict([51.0, 49.0], [51.5, 48.0], floor=51.0) is Kind.UNDECIDED


def test_lower_is_better_turns_every_verdict_round() -> None:
    """For a loss, lower is better, the floor is above and perfect is 0."""
    loss = {"higher_is_better": False, "margin": 0.01, "floor": 0.69, "ceiling": 0.0}
    assert verdict([0.5, 0.51, 0.52], [0.4, 0.41, 0.43], **loss) is Kind.BETTER
    assert verdict([0.69, 0.7], [0.7, 0.71], **loss) is Kind.NOTHING_LEARNED
    assert verdict([0.0, 0.0], [0.0, 0.0], **loss) is Kind.NOTHING_LEFT


@given(pairs)
def test_swapping_the_arms_turns_the_verdict_round(found: list[tuple[float, float]]) -> None:
    """With the arms swapped, better becomes worse and every other kind stays."""
    first, second = [pair[0] for pair in found], [pair[1] for pair in found]
    swapped = {Kind.BETTER: Kind.WORSE, Kind.WORSE: Kind.BETTER}
    there = verdict(first, second, floor=0.0, ceiling=100.0)
    assert verdict(second, first, floor=0.0, ceiling=100.0) is swapped.get(there, there)


@given(pairs, st.floats(0, 5))
def test_verdict_follows_from_the_interval(found: list[tuple[float, float]], margin: float) -> None:
    """Equal is said only of an interval within the margin, better and worse only of one beside zero."""
    comparison = compare_pairs([pair[0] for pair in found], [pair[1] for pair in found])
    decided = decide(comparison, margin=margin)
    if decided.kind is Kind.EQUAL:
        assert max(-comparison.low, comparison.high) <= margin
    elif decided.kind in (Kind.BETTER, Kind.WORSE):
        assert comparison.sign == (1 if decided.kind is Kind.BETTER else -1)
    assert decided.decided == (decided.kind not in (Kind.UNDECIDED, Kind.TOO_FEW_SEEDS))


def test_adjusted_p_withholds_a_verdict_and_keeps_the_interval() -> None:
    """What is better alone may be undecided beside nine others; the interval stays as it was."""
    comparison = compare_pairs([80.0, 81.0, 82.0, 80.5], [81.0, 83.5, 83.0, 82.0])
    alone = decide(comparison)
    adjusted = holm([comparison.p] + [0.5] * 9)[0]
    beside = decide(comparison, adjusted_p=adjusted)
    assert (alone.kind, beside.kind) == (Kind.BETTER, Kind.UNDECIDED)
    assert beside.comparison == alone.comparison
    assert beside.p == adjusted > alone.p
    assert beside.seeds_needed is not None and beside.seeds_needed > comparison.n


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0])
def test_predicted_seeds_decide_in_most_cases(seeds: int, mean: float) -> None:
    """Where a few seeds leave it undecided, the number that they predict decides it in most cases."""
    rng = np.random.default_rng(seeds)
    decided = []
    for _ in range(400):
        pairs = rng.normal(mean, 1, 1000)
        first = decide(compare_pairs([0.0] * seeds, pairs[:seeds]))
        if first.kind is Kind.UNDECIDED and first.seeds_needed:
            needed = first.seeds_needed
            decided.append(decide(compare_pairs([0.0] * needed, pairs[:needed])).decided)
    # Simulated with other seeds: 71 to 97%. A standard error is about 3 points.
    assert 0.6 <= np.mean(decided) <= 1.0


def test_no_prediction_from_two_seeds() -> None:
    """Two differences say too little of their spread, and a hopeless number of seeds is not named."""
    assert decide(compare_pairs([0.0, 0.0], [1.0, 2.0])).seeds_needed is None
    assert decide(compare_pairs([0.0] * 3, [-500.0, 0.6, 501.0])).seeds_needed is None
    assert decide(compare_pairs([0.0] * 4, [-0.5, 1.0, 2.5, 1.4])).seeds_needed is not None


def test_signs() -> None:
    """Seeds are counted on the side that is better."""
    found = decide(compare_pairs([3.0, 4.0, 5.0], [2.0, 3.5, 5.0]), higher_is_better=False)
    assert (found.comparison.higher, found.comparison.lower) == (0, 2)


def test_p_value_is_scipy_s() -> None:
    """The p value is that of SciPy's paired t test."""
    from scipy import stats

    rng = np.random.default_rng(3)
    first, second = rng.normal(80, 1, 7), rng.normal(81, 1, 7)
    assert compare_pairs(first.tolist(), second.tolist()).p == pytest.approx(
        stats.ttest_rel(first, second).pvalue
    )
    assert compare_pairs([1.0] * 6, [2.0] * 6).p == 2 / 2**6
    assert math.isnan(compare_pairs([1.0], [2.0]).p)


def test_words() -> None:
    """Each kind has its own words, equality with its margin."""
    equal = decide(compare_pairs([80.0, 81.0, 82.0], [80.1, 81.2, 82.1]), unit="points")
    assert equal.words == "equal within 0.5 points"
    assert decide(compare_pairs([], [])).words == "too few seeds"
    with pytest.raises(ValueError, match="margin"):
        decide(compare_pairs([], []), margin=-1.0)
