"""Sharpness: how much worse a loss gets around given weights, and how it curves there.

Everything here works on an `Objective`: a loss over fixed batches as a function of the weights. It knows
nothing of models or tasks, and leaves the weights bit for bit as they were.
"""

from lowland.sharpness.ascent import Climb, climb
from lowland.sharpness.hessian import Estimate, TopEigenvalue, top_eigenvalue, trace
from lowland.sharpness.objective import Objective, Vector, moved, norm
from lowland.sharpness.surface import filter_normalised, losses_along, losses_on_plane

__all__ = [
    "Climb",
    "Estimate",
    "Objective",
    "TopEigenvalue",
    "Vector",
    "climb",
    "filter_normalised",
    "losses_along",
    "losses_on_plane",
    "moved",
    "norm",
    "top_eigenvalue",
    "trace",
]
