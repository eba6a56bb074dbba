"""Activation checkpointing that hides parameters from a backward pass for chosen inputs."""

from __future__ import annotations

from typing import Any


def refuse_reentrant(node: Any) -> None:
    """Refuses a graph that hides parameters from `backward(inputs=...)`, which would leave them at w.

    Raises:
        ValueError: If there is reentrant activation checkpointing in the graph.
    """
    waiting, seen = [node], {None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == "CheckpointFunctionBackward":
            raise ValueError(
                "The model uses reentrant activation checkpointing, which hides parameters from the ascent. "
                "Use torch.utils.checkpoint.checkpoint(..., use_reentrant=False)."
            )
        waiting += [following for following, _ in node.next_functions]
