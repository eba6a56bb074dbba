"""The Hessian's largest eigenvalue and its trace, out of its products with vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from lowland.sharpness.objective import Objective

LANCZOS_VECTORS = 12
"""How many vectors of the weights' size Lanczos keeps; more need more memory and fewer restarts."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean of random samples; its standard error is nan for a single one."""

    mean: float
    standard_error: float


def estimate(values: Sequence[float]) -> Estimate:
    """Computes mean and standard error of samples."""
    n = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Estimate(mean=float(np.mean(values)), standard_error=error)


def top_eigenvalue(objective: Objective, seed: int, tolerance: float = 0.01) -> float:
    """Computes the largest (most positive) eigenvalue of the Hessian by restarted Lanczos.

    Args:
        objective: The loss.
        seed: The seed of the starting vector.
        tolerance: Relative accuracy at which to stop.

    Returns:
        The eigenvalue; nan if the iteration has not converged.

    Source:
        ARPACK, through `scipy.sparse.linalg.eigsh`.
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


def trace(objective: Objective, seed: int, samples: int) -> Estimate:
    """Estimates the Hessian's trace: the mean of z' H z over random vectors z of signs.

    Args:
        objective: The loss.
        seed: The seed of the vectors.
        samples: The number of vectors.

    Source:
        Hutchinson (1990), A stochastic estimator of the trace of the influence matrix.
    """
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(samples):
        signs = torch.randint(0, 2, (objective.size,), generator=generator).mul_(2).sub_(1)
        vector = signs.to(objective.parameters[0])
        values.append(float(vector @ objective.hessian_times(vector)))
    return estimate(values)
