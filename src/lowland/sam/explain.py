"""What goes wrong in an ascent pass, said in sentences that name the ascent and the setting to change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

REENTRANT = (
    "The model uses reentrant activation checkpointing, which hides parameters from the ascent. Use "
    "torch.utils.checkpoint.checkpoint(..., use_reentrant=False), in a Trainer "
    "gradient_checkpointing_kwargs={'use_reentrant': False}."
)

SILENT = 3
"""Steps of SAM in a row that perturb nothing, after which a warning says so: one may have had no target."""


@contextmanager
def explained(examples: int) -> Iterator[None]:
    """Runs an ascent pass; an error in it is told to be the ascent's.

    Args:
        examples: How many examples the ascent has on this process.

    Raises:
        ValueError: Instead of torch's error, where the cause is the ascent's size or reentrant checkpointing.
    """
    try:
        yield
    except Exception as error:
        if "more than 1 value per channel" in str(error):
            raise ValueError(
                f"BatchNorm needs more than one example in training, and SAM's ascent pass has {examples}: "
                "give it more by ascent_examples= or a larger fraction ascent=, or use larger batches."
            ) from error
        if "use_reentrant=True" in str(error):
            raise ValueError(REENTRANT) from error
        error.add_note(
            f"This was raised in SAM's ascent pass, which sees the first {examples} of the batch's examples. "
            "Where the loss needs more of them, set ascent_examples= or a larger fraction ascent=."
        )
        raise


def silence(norm: float, examples: int, size: int) -> str:
    """Says that SAM has had no effect.

    Args:
        norm: Norm of the last ascent gradient.
        examples: Examples of the ascent on this process.
        size: Examples of the batch on this process.

    Returns:
        The sentence of the warning.
    """
    cause = "is zero" if math.isfinite(norm) else "is not finite"
    return (
        f"SAM had no effect in {SILENT} steps in a row: the gradient of the ascent examples ({examples} of "
        f"{size}) {cause}, so that it gives no direction. A loss over several examples, such as one with "
        "in-batch negatives, needs more of them: set ascent_examples= or a larger fraction ascent=."
    )
