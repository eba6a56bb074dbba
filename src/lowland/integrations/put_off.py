"""Puts off the loss that a Trainer's own training_step asks for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lowland.errors import UserError

LossOf = Callable[[Any, Tensor | None], Any]
"""Computes the loss of inputs, given the number of their targets."""


class LossPutOff:
    """While it is open, the Trainer's `compute_loss` hands its arguments on, and gives a loss of nothing.

    What `training_step` does with that loss (dividing, scaling, `accelerator.backward`) changes nothing.
    The methods are replaced on the Trainer itself, so that those of every class are reached, also of
    classes in front of SAM's.

    Args:
        trainer: The Trainer.
        take: Called with the model, the inputs, and what computes the loss of such inputs.

    Attributes:
        loss: What `take` gave; `None` until then.
    """

    def __init__(self, trainer: Any, take: Callable[[nn.Module, Any, LossOf], Tensor]) -> None:
        self._trainer = trainer
        self._take = take
        self.loss: Tensor | None = None
        self._compute_loss = trainer.compute_loss
        self._context = trainer.compute_loss_context_manager
        self._kept: dict[str, Any] = {}

    def __enter__(self) -> LossPutOff:
        self._kept = {name: value for name, value in vars(self._trainer).items() if name in _REPLACED}
        # The backward passes of `take` are to run outside of the Trainer's autocast, if it has one.
        self._trainer.compute_loss_context_manager = nullcontext
        self._trainer.compute_loss = self._call
        return self

    def __exit__(self, *error: object) -> None:
        for name in _REPLACED:
            vars(self._trainer).pop(name, None)
        vars(self._trainer).update(self._kept)

    def _call(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **items: Any) -> Tensor:
        if self.loss is not None:
            raise self.error("calls it twice for one micro-batch")
        if return_outputs:
            raise self.error("wants the outputs as well")

        def loss_of(inputs: Any, targets: Tensor | None) -> Any:
            counted = targets is not None and items.get("num_items_in_batch") is not None
            more = {**items, "num_items_in_batch": targets} if counted else items
            with self._context():
                return self._compute_loss(model, inputs, **more)

        self.loss = self._take(model, inputs, loss_of)
        return torch.zeros((), device=self._trainer.args.device, requires_grad=True)

    def error(self, what: str) -> UserError:
        """Builds the error for a training_step that SAM cannot work with."""
        return UserError(
            f"SAM takes the loss of {type(self._trainer).__name__} from compute_loss, once for each "
            f"micro-batch, but the training_step of this Trainer {what}. Move the loss into compute_loss."
        )


_REPLACED = ("compute_loss", "compute_loss_context_manager")
