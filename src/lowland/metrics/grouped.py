"""Metrics over groups of examples: MultiRC's questions and ReCoRD's queries."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence


def exact_match_by_group(
    targets: Sequence[object], predictions: Sequence[object], groups: Sequence[Hashable]
) -> float:
    """Percentage of groups whose predictions are all right.

    Args:
        targets: Targets of all examples, in any order.
        predictions: Predictions of the same examples.
        groups: The group of each example, for example MultiRC's question.

    Returns:
        The percentage; `nan` without examples.

    Source:
        MultiRC's exact match: `mean_group_metric(all_match)` of the T5 library.
    """
    if not targets:
        return math.nan
    right: dict[Hashable, bool] = {}
    for target, prediction, group in zip(targets, predictions, groups, strict=True):
        right[group] = right.get(group, True) and target == prediction
    return 100 * sum(right.values()) / len(right)


def first_of_each_group(groups: Sequence[Hashable]) -> list[int]:
    """Positions of the first example of each group, in order.

    Source:
        ReCoRD's evaluation: `deduplicate_metric` of the T5 library.
    """
    seen: dict[Hashable, int] = {}
    for position, group in enumerate(groups):
        seen.setdefault(group, position)
    return list(seen.values())
