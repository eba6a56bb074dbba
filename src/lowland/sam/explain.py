"""What goes wrong in an ascent pass, said in sentences that name the ascent and the setting to change."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from lowland.sam.perturb import Perturbation

COARSE = 0.9
"""Below this share of rho the measured radius is worth a warning; in fp32 it is 1 up to rounding."""

SILENT = 3
"""Steps of SAM in a row that perturb nothing, after which a warning says so: one may have had no target."""

REENTRANT = (
    "The model uses reentrant activation checkpointing, which hides parameters from the ascent. Use "
    "torch.utils.checkpoint.checkpoint(..., use_reentrant=False), in a Trainer "
    "gradient_checkpointing_kwargs={'use_reentrant': False}."
)


@contextmanager
def explained(examples: int) -> Iterator[None]:
    """Runs an ascent pass; notes on any error that it came from the ascent, which has so many examples."""
    try:
        yield
    except Exception as error:
        if "use_reentrant=True" in str(error):
            raise ValueError(REENTRANT) from error
        error.add_note(
            f"This was raised in SAM's ascent pass, which sees the first {examples} of the batch's examples. "
            "Where the loss needs more of them, set ascent_examples= or a larger fraction ascent=."
        )
        raise


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


class Silence:
    """Warns, once each, where the perturbation does not reach the weights."""

    def __init__(self) -> None:
        self._unperturbed = 0  # steps in a row
        self._coarse = False

    def __call__(
        self, done: Perturbation, w: Sequence[Tensor], rho: float, examples: int, size: int, scaled: bool
    ) -> None:
        """Looks at a step; `scaled` where a gradient scaler skips steps that overflow."""
        silent = not done.taken and rho > 0 and not scaled
        self._unperturbed = self._unperturbed + 1 if silent else 0
        if self._unperturbed == SILENT:
            cause = "is zero" if math.isfinite(done.norm) else "is not finite"
            warnings.warn(
                f"SAM had no effect in {SILENT} steps in a row: the gradient of the ascent examples "
                f"({examples} of {size}) {cause}, so that it gives no direction. A loss over several "
                "examples, such as one with in-batch negatives, needs more of them: set ascent_examples= or "
                "a larger fraction ascent=.",
                UserWarning,
                stacklevel=3,
            )
        if self._coarse or not done.taken or done.radius is None or done.radius >= COARSE * rho:
            return
        self._coarse = True
        types = ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in w}))
        warnings.warn(
            f"Of rho={rho:g} only {done.radius:.3g} reached the weights, and {done.moved:.0%} of them moved "
            f"at all: {types} is too coarse for so small a step. Keep the weights in fp32 and compute under "
            "autocast.",
            UserWarning,
            stacklevel=3,
        )
