"""How much of what the model knew before fine-tuning is lost: the rise of its loss on general text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from lowland.outcomes.base import Outcome

FORGETTING = Outcome(
    name="forgetting",
    unit="nats a token",
    better="lower",
    margin=0.02,
    description="rise of the loss on general text over the model before fine-tuning",
)

Batch = TypeVar("Batch")


def general_loss(loss: Callable[[Batch], tuple[float, int]], batches: Iterable[Batch]) -> float:
    """Computes the mean loss of a token of general text.

    Args:
        loss: Maps a batch to the sum of the losses of its tokens, in nats, and their number.
        batches: The text, the same and masked in the same way for every model.

    Returns:
        The mean, in nats.

    Raises:
        ValueError: If there is no token.
    """
    sums, counts = [], 0
    for batch in batches:
        sum_, count = loss(batch)
        sums.append(float(sum_))
        counts += int(count)
    if counts == 0:
        raise ValueError("The general text has no tokens, so that there is no loss to compute.")
    return math.fsum(sums) / counts


def forgotten(before: float, after: float) -> float:
    """Returns the rise of the loss on general text, in nats a token; below 0 where it fell."""
    return after - before
