"""Parts of a training set: nested subsamples, and examples held out for choosing a model.

Both depend on the seed and the order of the examples alone. Python guarantees the sequence of
`random.Random(seed).random()` for all versions, so a seed means the same part for good.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from lowland.errors import UserError
from lowland.tasks.base import Example


def subsample(examples: Sequence[Example], fraction: float, seed: int) -> list[Example]:
    """Draws a fraction of the examples; of one seed, a smaller fraction lies within a larger one.

    Args:
        examples: The examples.
        fraction: The fraction to keep, above 0 and up to 1. One example at least is kept.
        seed: Seed of the draw.

    Returns:
        The drawn examples in their original order.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"Invalid {fraction=}. Must be > 0 and <= 1.")
    if not examples:
        return []
    kept = _shuffled(len(examples), seed)[: max(1, round(fraction * len(examples)))]
    return [examples[position] for position in sorted(kept)]


def hold_out(
    examples: Sequence[Example], count_or_fraction: int | float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Splits off examples for choosing a model; those with the same input stay on one side.

    Args:
        examples: The examples.
        count_or_fraction: How many to hold out: a whole number, or a fraction between 0 and 1.
        seed: Seed of the draw.

    Returns:
        The remaining and the held-out examples, both in their original order. Groups of examples with
        the same input may make the second a little smaller than asked for; neither is empty.

    Raises:
        UserError: If there are too few different inputs.
    """
    if isinstance(count_or_fraction, int):
        count = count_or_fraction
        if not 0 < count < len(examples):
            raise UserError(f"Cannot hold out {count} of {len(examples)} training examples.")
    else:
        if not 0 < count_or_fraction < 1:
            raise ValueError(f"Invalid {count_or_fraction=}. A fraction must be > 0 and < 1.")
        count = max(1, round(count_or_fraction * len(examples)))
    groups: dict[str, list[int]] = defaultdict(list)
    for position, example in enumerate(examples):
        groups[example.inputs].append(position)
    if len(groups) < 2:
        raise UserError(
            f"Cannot hold out from {len(examples)} training examples with {len(groups)} different inputs."
        )
    shuffled = [list(groups.values())[number] for number in _shuffled(len(groups), seed)]
    held: set[int] = set()
    for group in shuffled[:-1]:
        if len(held) + len(group) <= count:
            held.update(group)
    # Where every group is larger than what was asked for, the smallest is taken.
    held = held or set(sorted(shuffled, key=len)[0])
    rest = [example for position, example in enumerate(examples) if position not in held]
    return rest, [examples[position] for position in sorted(held)]


def class_coverage(examples: Sequence[Example], part: Sequence[Example]) -> dict[str, tuple[int, int]]:
    """Counts every target among all examples and in a part of them, to see which classes a part lacks.

    Returns:
        Target -> (number among all, number in the part), the most frequent target first.
    """
    counts = Counter(example.targets for example in part)
    return {
        target: (number, counts[target])
        for target, number in Counter(example.targets for example in examples).most_common()
    }


def _shuffled(size: int, seed: int) -> list[int]:
    generator = random.Random(seed)
    keys = [generator.random() for _ in range(size)]
    return sorted(range(size), key=keys.__getitem__)
