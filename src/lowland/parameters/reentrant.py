"""Activation checkpointing that hides parameters from a backward pass for chosen inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

REENTRANT = (
    "The model uses reentrant activation checkpointing, which hides parameters from the ascent. Use "
    "torch.utils.checkpoint.checkpoint(..., use_reentrant=False), in a Trainer "
    "gradient_checkpointing_kwargs={'use_reentrant': False}."
)


def refuse_reentrant(node: Any) -> None:
    """Refuses a graph that hides parameters from `backward(inputs=...)`, which would leave them at w."""
    waiting, seen = [node], {None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == "CheckpointFunctionBackward":
            raise ValueError(REENTRANT)
        waiting += [following for following, _ in node.next_functions]


class GraphOf:
    """A loss function that remembers the graph of its last loss."""

    def __init__(self, loss_fn: Callable[[Any], Tensor]) -> None:
        self._loss_fn = loss_fn
        self.last: Any = None

    def __call__(self, batch: Any) -> Tensor:
        """Gives the loss."""
        self.last = None
        loss = self._loss_fn(batch)
        self.last = getattr(loss, "grad_fn", None)
        return loss
