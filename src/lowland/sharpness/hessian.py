"""The Hessian's largest eigenvalue and its trace, out of its products with vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from lowland.sharpness.objective import Objective, dot, from_flat, to_flat

LANCZOS_VECTORS = 12
"""How many vectors of the weights' size Lanczos keeps; more need more memory and fewer restarts."""


@dataclass(frozen=True, kw_only=True)
class TopEigenvalue:
    """The largest eigenvalue of a Hessian.

    Attributes:
        value: The eigenvalue; nan where the method did not converge.
        residual: ||H v - value v|| / |value| for its unit vector v: how exact it is.
        products: How many Hessian-vector products it took.
    """

    value: float
    residual: float
    products: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean of random samples.

    Attributes:
        mean: The mean.
        standard_error: Its standard error; nan for a single sample.
        samples: How many there were.
    """

    mean: float
    standard_error: float
    samples: int


def estimate(values: Sequence[float]) -> Estimate:
    """Computes mean and standard error of samples."""
    n = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Estimate(mean=float(np.mean(values)), standard_error=error, samples=n)


def top_eigenvalue(objective: Objective, seed: int, tolerance: float = 0.01) -> TopEigenvalue:
    """Finds the largest (most positive) eigenvalue of the Hessian by restarted Lanczos.

    Args:
        objective: The loss.
        seed: Of the vector that is started from.
        tolerance: Relative accuracy at which to stop.

    Source:
        ARPACK, through `scipy.sparse.linalg.eigsh`.
    """
    products = 0
    like, size = objective.parameters, objective.size

    def times(vector: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal products
        products += 1
        flat = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1))
        return to_flat(objective.hessian_times(from_flat(flat, like))).numpy()

    kind = np.float64 if like[0].dtype == torch.float64 else np.float32
    start = np.random.default_rng(seed).standard_normal(size).astype(kind)
    operator = LinearOperator((size, size), matvec=times, dtype=kind)
    vectors = min(LANCZOS_VECTORS, size)
    try:
        values, found = eigsh(operator, k=1, which="LA", v0=start, ncv=vectors, maxiter=20, tol=tolerance)
    except ArpackNoConvergence:
        return TopEigenvalue(value=math.nan, residual=math.nan, products=products)
    value, vector = float(values[0]), found[:, 0]
    residual = float(np.linalg.norm(times(vector) - value * vector)) / max(abs(value), 1e-30)
    return TopEigenvalue(value=value, residual=residual, products=products)


def trace(objective: Objective, seed: int, samples: int) -> Estimate:
    """Estimates the Hessian's trace: the mean of z' H z over random vectors z of signs.

    Args:
        objective: The loss.
        seed: Of the vectors.
        samples: How many.

    Source:
        Hutchinson (1990), A stochastic estimator of the trace of the influence matrix.
    """
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(samples):
        signs = torch.randint(0, 2, (objective.size,), generator=generator).mul_(2).sub_(1)
        vector = from_flat(signs, objective.parameters)
        values.append(float(dot(vector, objective.hessian_times(vector))))
    return estimate(values)
