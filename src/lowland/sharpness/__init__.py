"""Sharpness: how much worse a loss gets around given weights, and how it curves there.

Everything here works on an `Objective`: a loss over fixed batches as a function of the weights. It knows
nothing of models or tasks, and leaves the weights bit for bit as they were.
"""

from lowland.sharpness.ascent import climb, losses_along
from lowland.sharpness.hessian import Estimate, top_eigenvalue, trace
from lowland.sharpness.objective import Objective, flat, moved, norm

__all__ = [
    "Estimate",
    "Objective",
    "climb",
    "flat",
    "losses_along",
    "moved",
    "norm",
    "top_eigenvalue",
    "trace",
]
