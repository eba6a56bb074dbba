"""What SAM minimises: how much the loss can rise within a radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.sharpness.objective import Objective, Vector, moved, norm, scaled


@dataclass(frozen=True, kw_only=True)
class Climb:
    """A rise of the loss.

    Attributes:
        radius: Within which distance, L2 over all weights.
        steps: After how many steps of ascent.
        rise: L(w + eps) - L(w) at the highest point that was seen.
    """

    radius: float
    steps: int
    rise: float


def climb(objective: Objective, radii: Sequence[float], steps: int) -> list[Climb]:
    """Climbs from the present weights, within each radius anew.

    The first step is SAM's: w + radius * g / ||g||. Each further one goes half the radius along the
    gradient found there, and back onto the ball where it left it. What is given is the highest loss seen so
    far, so more steps are never lower.

    Args:
        objective: The loss; SAM's own sharpness is that of single batches.
        radii: Distances > 0.
        steps: Most steps of ascent, >= 1.

    Returns:
        For each radius the rise after one step, and after `steps` where these are more.

    Source:
        Algorithm 1 of the paper for one step; projected gradient ascent as in Madry et al. (2018) for more.
    """
    if steps < 1 or any(not radius > 0 for radius in radii):
        raise ValueError(f"Invalid {radii=} or {steps=}. Must be > 0 and >= 1.")
    here, gradient = objective.gradient()
    found = []
    for radius in radii:
        offset = _within(gradient, radius, at_edge=True)
        highest = -float("inf")
        for step in range(1, steps + 1):
            with moved(objective.parameters, offset):
                if step < steps:
                    value, slope = objective.gradient()
                else:
                    value, slope = objective.value(), []
            highest = max(highest, value)
            if step in (1, steps):
                found.append(Climb(radius=radius, steps=step, rise=highest - here))
            if slope:
                forward = _within(slope, radius / 2, at_edge=True)
                offset = _within(torch._foreach_add(offset, forward), radius)
    return found


def _within(vector: Sequence[Tensor], radius: float, *, at_edge: bool = False) -> Vector:
    """Scales a vector to a length, or to no more than it; one of length 0 stays."""
    length = norm(vector)
    if length == 0.0 or (length <= radius and not at_edge):
        return list(vector)
    return scaled(vector, radius / length)
