"""SAM inside of a Trainer's own step: its loss is computed later, and its figures do not see the ascent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lowland.errors import UserError

LossOf = Callable[[Any, Tensor | None], Any]
"""Computes the loss of inputs, given the number of their targets."""

REPLACED = ("compute_loss", "compute_loss_context_manager")

NO_FIGURES = frozenset({"args", "data_collator", "eval_dataset", "model", "model_wrapped", "train_dataset"})
"""Attributes of a Trainer that are none, and may be large."""

LARGE = 1000
"""Containers of more entries are not looked into; what was added to a list is taken out again."""

DEEP = 3
"""Containers inside of so many others are not looked into."""


class LaterLoss:
    """While it is open, a Trainer's `compute_loss` hands its arguments to `take` and gives a loss of nothing.

    What `training_step` does with that loss (dividing, scaling, `accelerator.backward`) changes nothing.
    The methods are replaced on the Trainer itself, so that those of every class are reached, also of
    classes in front of SAM's.
    """

    def __init__(self, trainer: Any, take: Callable[[nn.Module, Any, LossOf], Tensor]) -> None:
        self._trainer, self._take = trainer, take
        self.loss: Tensor | None = None
        self._compute_loss, self._context = trainer.compute_loss, trainer.compute_loss_context_manager
        self._kept = {name: value for name, value in vars(trainer).items() if name in REPLACED}

    def __enter__(self) -> LaterLoss:
        # The backward passes of `take` are to run outside of the Trainer's autocast, if it has one.
        self._trainer.compute_loss_context_manager = nullcontext
        self._trainer.compute_loss = self._call
        return self

    def __exit__(self, *error: object) -> None:
        for name in REPLACED:
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


@contextmanager
def figures_aside(trainer: Any) -> Iterator[None]:
    """Runs a block after which a Trainer's figures are what they were, and in which it logs nothing."""
    kept = [(owner, dict(vars(owner))) for owner in (trainer, trainer.state)]
    undo: list[Callable[[], object]] = []
    for _, attributes in kept:
        for name, value in attributes.items():
            if name not in NO_FIGURES:
                _note_inside(value, undo)
    trainer.log = lambda *args, **kwargs: None
    try:
        yield
    finally:
        for owner, attributes in kept:
            for name in vars(owner).keys() - attributes.keys():
                delattr(owner, name)
            vars(owner).update(attributes)
        for put_back in undo:
            put_back()


def _note_inside(value: Any, undo: list[Callable[[], object]], depth: int = 0) -> None:
    """Notes how to put back the inside of a value, as far as it can be changed."""
    if isinstance(value, Tensor):
        if value.numel() <= LARGE and not value.requires_grad and not value.is_inference():
            undo.append(partial(value.data.copy_, value.clone()))
    elif isinstance(value, list) and len(value) > LARGE:
        undo.append(partial(value.__delitem__, slice(len(value), None)))
    elif isinstance(value, (dict, list, set, deque)) and len(value) <= LARGE and depth <= DEEP:
        entries = copy(value)
        undo.append(partial(_put_back, value, entries))
        for entry in entries.values() if isinstance(entries, dict) else entries:
            _note_inside(entry, undo, depth + 1)


def _put_back(value: Any, entries: Any) -> None:
    value.clear()
    value.extend(entries) if isinstance(value, (list, deque)) else value.update(entries)
