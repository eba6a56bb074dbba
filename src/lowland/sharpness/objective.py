"""A loss over fixed batches as a function of the weights: its value, gradient and Hessian."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor

Vector: TypeAlias = list[Tensor]
"""A vector in the space of the weights, cut in tensors as they are."""


class Objective:
    """The weighted mean of a loss over batches.

    For the same value every time, dropout must be off. For Hessian-vector products the loss must be
    differentiable twice, which fused attention kernels are not.

    Args:
        loss: Computes a batch's mean loss at the present weights.
        parameters: The weights, each once.
        batches: The batches, one or more.
        weights: What each batch's mean counts, its number of examples for example; 1 each by default.
    """

    def __init__(
        self,
        loss: Callable[[Any], Tensor],
        parameters: Iterable[Tensor],
        batches: Sequence[Any],
        weights: Sequence[float] | None = None,
    ) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._loss = loss
        self._batches = list(batches)
        weights = [1.0] * len(self._batches) if weights is None else list(weights)
        if not self.parameters or not self._batches or len(weights) != len(self._batches):
            raise ValueError("Invalid objective. Must have parameters, batches, and a weight for each batch.")
        self._shares = [weight / sum(weights) for weight in weights]

    @property
    def size(self) -> int:
        """How many weights there are."""
        return sum(parameter.numel() for parameter in self.parameters)

    def parts(self) -> list[Objective]:
        """Gives an objective for each batch alone."""
        return [Objective(self._loss, self.parameters, [batch]) for batch in self._batches]

    def value(self) -> float:
        """Computes the loss at the present weights."""
        with torch.no_grad():
            return sum(
                share * float(self._loss(batch))
                for share, batch in zip(self._shares, self._batches, strict=True)
            )

    def gradient(self) -> tuple[float, Vector]:
        """Computes the loss and its gradient at the present weights."""
        value, total = 0.0, self._zeros()
        for share, batch in zip(self._shares, self._batches, strict=True):
            loss = self._loss(batch)
            value += share * float(loss.detach())
            found = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
            torch._foreach_add_(total, list(found), alpha=share)
        return value, total

    def hessian_times(self, vector: Vector) -> Vector:
        """Multiplies the Hessian at the present weights with a vector, by differentiating twice.

        Source:
            Pearlmutter (1994), Fast Exact Multiplication by the Hessian.
        """
        total = self._zeros()
        for share, batch in zip(self._shares, self._batches, strict=True):
            gradient = torch.autograd.grad(
                self._loss(batch), self.parameters, create_graph=True, materialize_grads=True
            )
            slope = dot(gradient, vector)
            found = torch.autograd.grad(slope, self.parameters, materialize_grads=True)
            torch._foreach_add_(total, list(found), alpha=share)
        return total

    def _zeros(self) -> Vector:
        return [torch.zeros_like(parameter) for parameter in self.parameters]


@contextmanager
def moved(parameters: Sequence[Tensor], offset: Sequence[Tensor]) -> Iterator[None]:
    """Runs a block at w + offset; afterwards the weights are bit for bit what they were."""
    weights = [parameter.detach() for parameter in parameters]
    saved = [weight.clone() for weight in weights]
    try:
        torch._foreach_add_(weights, list(offset))
        yield
    finally:
        torch._foreach_copy_(weights, saved)


def dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Computes the inner product of two vectors."""
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()


def norm(vector: Sequence[Tensor]) -> float:
    """Computes the L2 norm of a vector, summed in double precision."""
    return float(torch.stack([piece.detach().double().square().sum() for piece in vector]).sum().sqrt())


def scaled(vector: Sequence[Tensor], factor: float) -> Vector:
    """Multiplies a vector with a number."""
    return list(torch._foreach_mul([piece.detach() for piece in vector], factor))


def to_flat(vector: Sequence[Tensor]) -> Tensor:
    """Puts the pieces of a vector in one row of all weights, on the CPU."""
    return torch.cat([piece.detach().reshape(-1).cpu() for piece in vector])


def from_flat(flat: Tensor, like: Sequence[Tensor]) -> Vector:
    """Cuts a row into pieces of the shape, type and device of others."""
    pieces = flat.split([piece.numel() for piece in like])
    return [piece.view_as(one).to(one) for piece, one in zip(pieces, like, strict=True)]
