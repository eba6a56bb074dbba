"""Sharpness: how much worse a loss gets around given weights, and how it curves there.

It works on any loss over any weights, and leaves the weights bit for bit as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

__all__ = ["Objective", "moved", "rises", "top_eigenvalue"]

LANCZOS_VECTORS = 12
"""How many vectors of the weights' size Lanczos keeps; more need more memory and fewer restarts."""


class Objective:
    """The weighted mean of a loss over fixed batches, as a function of the weights.

    A vector in the space of the weights is one flat tensor. Dropout must be off. For the Hessian the loss
    must be differentiable twice, which fused attention kernels are not.

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
        value, total = 0.0, self.parameters[0].new_zeros(self.size)
        for share, loss in self._losses():
            value += share * float(loss.detach())
            total += share * self._slope(loss)
        return value, total

    def hessian_times(self, vector: Tensor) -> Tensor:
        """Multiplies the Hessian at the present weights with a vector, by differentiating twice."""
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


def rises(objective: Objective, radii: Sequence[float]) -> dict[float, float]:
    """Computes what SAM minimises by Algorithm 1: L(w + radius * g / ||g||) - L(w) for each radius.

    Args:
        objective: The loss; SAM's own sharpness is that of single batches.
        radii: Distances > 0, L2 over all weights.
    """
    if any(not radius > 0 for radius in radii):
        raise ValueError(f"Invalid {radii=}. Must be > 0.")
    here, gradient = objective.gradient()
    direction = gradient / (float(gradient.double().norm()) or 1.0)
    found = {}
    for radius in radii:
        with moved(objective.parameters, radius * direction):
            found[radius] = objective.value() - here
    return found


def top_eigenvalue(objective: Objective, seed: int, tolerance: float = 0.01) -> float:
    """Computes the largest (most positive) eigenvalue of the Hessian by ARPACK's restarted Lanczos.

    It starts at a vector drawn with a seed, and stops at a relative accuracy; nan if it has not converged.
    """
    like, size = objective.parameters[0], objective.size

    def times(vector: NDArray[np.float32]) -> NDArray[np.float32]:
        flat = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1)).to(like)
        return objective.hessian_times(flat).cpu().numpy()

    kind = np.float64 if like.dtype == torch.float64 else np.float32
    start = np.random.default_rng(seed).standard_normal(size).astype(kind)
    operator = LinearOperator((size, size), matvec=times, dtype=kind)
    vectors = min(LANCZOS_VECTORS, size)
    try:
        values, _ = eigsh(operator, k=1, which="LA", v0=start, ncv=vectors, maxiter=20, tol=tolerance)
    except ArpackNoConvergence:
        return math.nan
    return float(values[0])
