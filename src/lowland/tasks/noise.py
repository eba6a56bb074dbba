"""Wrong labels on purpose: some training examples get another of their task's labels.

Labels that people were paid little for are often wrong. With a known share of wrong ones it can be measured
how well a way of training stands them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from lowland.errors import UserError
from lowland.tasks.base import Example


def flip_labels(examples: Sequence[Example], labels: Sequence[str], share: float, seed: int) -> list[Example]:
    """Gives a share of the examples another label, drawn uniformly from the others.

    Which examples, and which labels they get, depends on the seed and their places alone. With the same seed,
    what a smaller share flips a larger one flips to the same labels, and more. Examples that are not flipped
    are the same objects.
    """
    generator = random.Random(seed)
    # Python guarantees the sequence of random() for all versions, so a seed means the same flips for good.
    draws = [(generator.random(), generator.random()) for _ in examples]
    order = sorted(range(len(examples)), key=draws.__getitem__)
    flipped = list(examples)
    for position in order[: round(share * len(examples))]:
        example = examples[position]
        right = {example.targets, *(example.answers or ())}
        others = [label for label in labels if label not in right]
        if not others:
            raise UserError(
                f"Every label is a right answer of {example.inputs!r}, so that none is wrong. Leave "
                "--label-noise or the task out."
            )
        other = others[int(draws[position][1] * len(others))]
        answers = None if example.answers is None else (other,)
        flipped[position] = replace(example, targets=other, answers=answers)
    return flipped
