"""The gradient of standard training: the loss's own, in pieces where the batch comes in pieces.

`SAMGradient` shares everything with it but what comes before the descent, down to the call of `backward`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lowland.batches.batch import batch_size, rows, target_count
from lowland.parameters.parallel import Replicas, refuse_flattened
from lowland.parameters.selection import Parameters, Selection
from lowland.sam.info import GradientInfo

LossFunction: TypeAlias = Callable[[Any], Tensor]
"""Gives the mean loss of a batch as a scalar tensor with a graph."""


class StandardGradient:
    """The gradient of the batch's loss at w, as `loss.backward()` gives it.

    Args:
        parameters: A module, its parameters, `named_parameters()`, or an optimizer's `param_groups`.
            Hand over the module where you can: under DDP and FSDP2 it must be the wrapped one, and a
            compiled model with buffers needs it.
        micro_batch_size: Examples for one forward pass; larger batches are cut and their gradients
            accumulated to what the whole batch would give. `None` does not cut.
        count: Tells what a (micro-)batch's mean loss is a mean of, to weight micro-batches and ranks
            rightly. By default the target tokens (two-dimensional integer `labels` other than -100) of a
            mapping, else the examples.
        scaler: A `GradScaler` for fp16. Unscale, step and update it yourself, as in standard training.
        backward: Called instead of `loss.backward()`, for example `accelerator.backward`.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        micro_batch_size: int | None = None,
        count: Callable[[Any], Tensor | int | float] = target_count,
        scaler: torch.amp.GradScaler | None = None,
        backward: Callable[..., None] | None = None,
    ) -> None:
        if micro_batch_size is not None and (type(micro_batch_size) is not int or micro_batch_size < 1):
            raise ValueError(f"Invalid {micro_batch_size=}. Must be a whole number >= 1.")
        if scaler is not None and backward is not None:
            raise ValueError(
                "Give either scaler= or backward=: a backward of your own scales the loss itself."
            )
        self.module = parameters if isinstance(parameters, nn.Module) else None
        self.selection = Selection(parameters)
        self.micro_batch_size = micro_batch_size
        self.count = count
        self.scaler = scaler
        self._backward_function = backward
        refuse_flattened(self.selection.trainable(), self.module)
        self._replicas = Replicas(self.module)

    def __call__(
        self, loss_fn: LossFunction, batch: Any = None, *, micro_batches: Sequence[Any] | None = None
    ) -> GradientInfo:
        """Adds the gradient of the batch's mean loss to every parameter's `.grad`.

        Args:
            loss_fn: `loss_fn(batch)` gives the mean loss of a batch as a scalar tensor. It is called once
                for every pass and piece of the batch.
            batch: A tensor, or a tuple, list, mapping or dataclass of tensors, whose first dimension is the
                example.
            micro_batches: Instead of `batch`: its pieces, in order, where the loop has them already.

        Returns:
            What was seen; the gradient itself is in `.grad`.
        """
        pieces = self._pieces(batch, micro_batches)
        return GradientInfo(loss=self._accumulate(loss_fn, pieces))

    def state_dict(self) -> dict[str, Tensor]:
        """Gives what the next step needs of the steps before, by parameter: here, nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state_dict` gave; raises a `ValueError` if that is another gradient's."""
        if state:
            raise ValueError(
                f"{type(self).__name__} has no state, but was given some for {next(iter(state))!r}."
            )

    def _pieces(self, batch: Any, micro_batches: Sequence[Any] | None) -> list[Any]:
        """Brings the batch into the form of micro-batches."""
        if (batch is None) == (micro_batches is None):
            raise ValueError("Give either a batch or micro_batches=[...], and not both.")
        pieces = [batch] if micro_batches is None else list(micro_batches)
        if not pieces:
            raise ValueError("micro_batches is empty. Give at least one micro-batch.")
        limit = self.micro_batch_size
        if limit is None:
            return pieces
        sizes = [batch_size(piece) for piece in pieces]
        return [
            piece if size <= limit else rows(piece, start, min(start + limit, size))
            for piece, size in zip(pieces, sizes, strict=True)
            for start in range(0, size, limit)
        ]

    def _accumulate(
        self,
        loss_fn: LossFunction,
        pieces: Sequence[Any],
        share: float = 1.0,
        together: bool = True,
        **options: Any,
    ) -> Tensor:
        """Adds `share` times the gradient of the pieces' mean loss to `.grad`; returns that mean loss."""
        weighted = self._weighted(pieces, together)
        losses: list[Tensor] = []
        for index, (piece, weight) in enumerate(weighted):
            synchronise = together and index == len(weighted) - 1
            with nullcontext() if synchronise else self._replicas.unsynchronised():
                loss = times(_checked(loss_fn(piece)), weight)
                losses.append(loss.detach())
                self._backward(times(loss, share), **options)
                del loss  # frees the graph's last reference before the next pass builds its own
        mean = torch.stack(losses).sum() if len(losses) > 1 else losses[0]
        return self._replicas.total(mean) / self._replicas.size if together else mean

    def _mean(self, loss_fn: LossFunction, pieces: Sequence[Any]) -> float:
        """Computes the pieces' mean loss, over the ranks together, without a gradient."""
        losses = [times(loss_fn(piece), weight) for piece, weight in self._weighted(pieces, together=True)]
        return float(self._replicas.total(torch.stack(losses).sum()) / self._replicas.size)

    def _weighted(self, pieces: Sequence[Any], together: bool) -> list[tuple[Any, float]]:
        """Pairs each piece with what its mean loss weighs in the mean over all pieces (and ranks)."""
        ranks = self._replicas.size if together else 1
        if len(pieces) == 1 and ranks == 1:
            return [(pieces[0], 1.0)]
        counts = [float(self.count(piece)) for piece in pieces]
        if not all(0 <= count < math.inf for count in counts):
            raise ValueError(f"count= must give finite numbers >= 0 for micro-batches, but gave {counts}.")
        # The ranks' gradients are averaged afterwards, hence their number.
        total = (self._replicas.sum(sum(counts)) if together else sum(counts)) / ranks
        weights = [count / total if total else 1 / len(pieces) for count in counts]
        if self._replicas.size == 1:  # a piece without a target has no mean loss
            return [pair for pair in zip(pieces, weights, strict=True) if pair[1]]
        # Shards wait for each other in every pass: whoever has fewer pieces repeats the last, for nothing.
        missing = self._replicas.most(len(pieces)) - len(pieces)
        return [*zip(pieces, weights, strict=True), *[(pieces[-1], 0.0)] * missing]

    def _backward(self, loss: Tensor, **options: Any) -> None:
        if self._backward_function is not None:
            self._backward_function(loss, **options)
        else:
            (loss if self.scaler is None else self.scaler.scale(loss)).backward(**options)


def times(loss: Tensor, share: float) -> Tensor:
    """Multiplies a loss; a share of one adds no operation, and one of nothing takes a NaN with it."""
    if share == 1.0:
        return loss
    return loss * share if share else loss.nan_to_num() * 0.0


def _checked(loss: Any) -> Tensor:
    if isinstance(loss, Tensor) and loss.dim() == 0:
        return loss
    got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
    raise ValueError(f"loss_fn must return the mean loss as a scalar tensor, but gave {got}.")
