"""What is trained on of a training set: nested subsamples, held-out examples, and wrong labels on purpose.

All depend on the seed and the order of the examples alone. Python guarantees the sequence of
`random.Random(seed).random()` for all versions, so a seed means the same draws for good.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from lowland.errors import UserError
from lowland.tasks.base import Example


def subsample(examples: Sequence[Example], fraction: float, seed: int) -> list[Example]:
    """Draws a fraction of the examples, one at least, in their original order.

    With the same seed, a smaller fraction lies within a larger one.
    """
    kept = _shuffled(len(examples), seed)[: max(1, round(fraction * len(examples)))]
    return [examples[position] for position in sorted(kept)]


def hold_out(
    examples: Sequence[Example], count_or_fraction: int | float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Splits examples, in their order, in those that remain and those for choosing a model; neither is empty.

    Examples with the same input, and those of one question where a metric groups them (MultiRC's answers),
    stay on one side, which may make the held-out ones a little fewer than asked for.
    """
    count = count_or_fraction
    if isinstance(count, float):
        count = max(1, round(count * len(examples)))
    groups = _groups(examples)
    if len(groups) < 2:
        raise UserError(
            f"None of {len(examples)} training examples can be held out: all have the same input or question."
        )
    shuffled = [groups[number] for number in _shuffled(len(groups), seed)]
    held: set[int] = set()
    for group in shuffled[:-1]:
        if len(held) + len(group) <= count:
            held.update(group)
    # Where every group is larger than what was asked for, the smallest is taken.
    held = held or set(sorted(shuffled, key=len)[0])
    rest = [example for position, example in enumerate(examples) if position not in held]
    return rest, [examples[position] for position in sorted(held)]


def flip_labels(examples: Sequence[Example], labels: Sequence[str], share: float, seed: int) -> list[Example]:
    """Gives a share of the examples another label, drawn uniformly from the others.

    With the same seed, what a smaller share flips a larger one flips to the same labels, and more. Examples
    that are not flipped are the same objects.
    """
    generator = random.Random(seed)
    draws = [(generator.random(), generator.random()) for _ in examples]
    order = sorted(range(len(examples)), key=draws.__getitem__)
    flipped = list(examples)
    for position in order[: round(share * len(examples))]:
        example = examples[position]
        others = [label for label in labels if label not in (example.targets, *(example.answers or ()))]
        if not others:
            raise UserError(
                f"Every label is a right answer of {example.inputs!r}, so that none is wrong. Leave "
                "--label-noise or the task out."
            )
        other = others[int(draws[position][1] * len(others))]
        answers = None if example.answers is None else (other,)
        flipped[position] = replace(example, targets=other, answers=answers)
    return flipped


def _groups(examples: Sequence[Example]) -> list[list[int]]:
    """Positions of the examples that belong together, in order of each group's first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[Hashable, int] = {}  # of inputs, and of questions
    pairs = np.empty((len(examples), 2), dtype=np.int32)
    for position, example in enumerate(examples):
        question: Hashable = example.inputs
        if example.ids is not None:
            # MultiRC counts by question alone; ReCoRD's passage and query name an example together.
            question = example.ids.get("question", tuple(example.ids.items()))
        pairs[position] = [numbers.setdefault(key, len(numbers)) for key in (example.inputs, question)]
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(numbers), len(numbers)))
    group_of = connected_components(links, directed=False)[1][pairs[:, 0]]
    groups: dict[int, list[int]] = {}
    for position, group in enumerate(group_of.tolist()):
        groups.setdefault(group, []).append(position)
    return list(groups.values())


def _shuffled(size: int, seed: int) -> list[int]:
    generator = random.Random(seed)
    keys = [generator.random() for _ in range(size)]
    return sorted(range(size), key=keys.__getitem__)
