"""A loss over fixed batches as a function of the weights: its value, gradient and Hessian.

A vector in the space of the weights is one flat tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Objective:
    """The weighted mean of a loss over batches.

    For the same value every time, dropout must be off. For Hessian-vector products the loss must be
    differentiable twice, which fused attention kernels are not.

    Args:
        loss: Computes a batch's mean loss at the present weights.
        parameters: The weights, each once.
        batches: The batches, one or more.
        weights: The weight of each batch's mean, for example its number of examples; 1 each by default.
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
        """The number of weights."""
        return sum(parameter.numel() for parameter in self.parameters)

    def parts(self) -> list[Objective]:
        """Gives an objective for each batch alone."""
        return [Objective(self._loss, self.parameters, [batch]) for batch in self._batches]

    def value(self) -> float:
        """Computes the loss at the present weights."""
        with torch.no_grad():
            return sum(share * float(loss) for share, loss in self._losses())

    def gradient(self) -> tuple[float, Tensor]:
        """Computes the loss and its gradient at the present weights."""
        value, total = 0.0, torch.zeros_like(flat(self.parameters))
        for share, loss in self._losses():
            value += share * float(loss.detach())
            total += share * self._slope(loss)
        return value, total

    def hessian_times(self, vector: Tensor) -> Tensor:
        """Multiplies the Hessian at the present weights with a vector, by differentiating twice.

        Source:
            Pearlmutter (1994), Fast Exact Multiplication by the Hessian.
        """
        total = torch.zeros_like(vector)
        for share, loss in self._losses():
            total += share * self._slope(self._slope(loss, create_graph=True) @ vector)
        return total

    def _losses(self) -> Iterator[tuple[float, Tensor]]:
        for share, batch in zip(self._shares, self._batches, strict=True):
            yield share, self._loss(batch)

    def _slope(self, loss: Tensor, create_graph: bool = False) -> Tensor:
        found = torch.autograd.grad(loss, self.parameters, create_graph=create_graph, materialize_grads=True)
        return torch.cat([piece.reshape(-1) for piece in found])


@contextmanager
def moved(parameters: Sequence[Tensor], offset: Tensor) -> Iterator[None]:
    """Runs a block at w + offset; afterwards the weights are bit for bit what they were."""
    weights = [parameter.detach() for parameter in parameters]
    saved = [weight.clone() for weight in weights]
    try:
        pieces = offset.split([weight.numel() for weight in weights])
        for weight, piece in zip(weights, pieces, strict=True):
            weight.add_(piece.view_as(weight))
        yield
    finally:
        torch._foreach_copy_(weights, saved)


def flat(pieces: Sequence[Tensor]) -> Tensor:
    """Concatenates tensors, each flattened, to one vector."""
    return torch.cat([piece.detach().reshape(-1) for piece in pieces])


def norm(vector: Tensor) -> float:
    """Computes the L2 norm of a vector, summed in double precision."""
    return float(vector.double().norm())
