"""The outcome of a metric."""

from __future__ import annotations

from lowland.outcomes.base import score
from lowland.statistics import Kind, compare_pairs


def test_floor_and_ceiling() -> None:
    """What is no better than one and the same answer learned nothing; at 100% nothing is left to gain."""
    outcome = score("accuracy", floor=70.0)
    assert outcome.judge(compare_pairs([70.0, 70.0], [70.0, 69.0])).kind is Kind.NOTHING_LEARNED
    assert outcome.judge(compare_pairs([100.0], [100.0])).kind is Kind.NOTHING_LEFT
