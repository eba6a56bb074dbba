"""What SAM minimises: how much the loss can rise within a radius."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lowland.sharpness.objective import Objective, moved, norm


def climb(objective: Objective, radii: Sequence[float], steps: int) -> dict[tuple[float, int], float]:
    """Climbs from the present weights, within each radius anew.

    The first step is SAM's: w + radius * g / ||g||. Each further one goes half the radius along the
    gradient found there, and back onto the ball where it left it. The result is the highest loss seen so
    far, so that more steps never give less.

    Args:
        objective: The loss; SAM's own sharpness is that of single batches.
        radii: Distances > 0, L2 over all weights.
        steps: The largest number of steps of ascent, >= 1.

    Returns:
        Radius and steps -> L(w + eps) - L(w): for each radius after one step, and after `steps`.

    Source:
        Algorithm 1 of the paper for one step; projected gradient ascent as in Madry et al. (2018) for more.
    """
    if steps < 1 or any(not radius > 0 for radius in radii):
        raise ValueError(f"Invalid {radii=} or {steps=}. Must be > 0 and >= 1.")
    here, gradient = objective.gradient()
    found = {}
    for radius in radii:
        offset = _within(gradient, radius, at_edge=True)
        highest = -float("inf")
        for step in range(1, steps + 1):
            last = step == steps
            with moved(objective.parameters, offset):
                value, slope = (objective.value(), offset) if last else objective.gradient()
            highest = max(highest, value)
            if step in (1, steps):
                found[radius, step] = highest - here
            offset = _within(offset + _within(slope, radius / 2, at_edge=True), radius)
    return found


def losses_along(objective: Objective, direction: Tensor, places: Sequence[float]) -> list[float]:
    """Computes the loss at w + place * direction for every place."""
    losses = []
    for place in places:
        with moved(objective.parameters, place * direction):
            losses.append(objective.value())
    return losses


def _within(vector: Tensor, radius: float, *, at_edge: bool = False) -> Tensor:
    """Scales a vector to a length, or to no more than it; one of length 0 stays."""
    length = norm(vector)
    if length == 0.0 or (length <= radius and not at_edge):
        return vector
    return vector * (radius / length)
