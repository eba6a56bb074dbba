"""The perturbation: w_adv = w + rho * g / ||g||."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.parameters.norms import global_norm
from lowland.parameters.parallel import local
from lowland.parameters.preserve import Undo, undoing
from lowland.sam.measure import measured, must_measure
from lowland.sam.weights import Weights


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """What was done to the weights.

    Attributes:
        norm: Global L2 norm of the ascent gradient, of |w| g where adaptive.
        radius: Measured ||w_adv - w||_2, of (w_adv - w) / |w| where adaptive; 0 where the gradient gave no
            direction; `None` where it was not measured.
        moved: Share of the weights that differ from w at w_adv, from 0 to 1; `None` where not measured.
        taken: Whether there was a direction, and the weights' type can hold w_adv.
        weights: The weights at w_adv, until they are put back.
    """

    norm: float
    radius: float | None
    moved: float | None
    taken: bool
    weights: Weights


def perturb(
    parameters: Sequence[Tensor],
    gradients: list[Tensor],
    rho: float,
    *,
    adaptive: bool = False,
    measure: bool = True,
    undo: Undo,
) -> Perturbation:
    """Moves the weights to w + rho * g / ||g||; `undo` puts them back at exactly w.

    Where adaptive, the weights move to w + rho * w^2 g / || |w| g ||, element by element. A gradient of norm
    zero, or with an element that is not finite, gives no direction: the weights then stay at w, and the
    radius says so. They stay, too, where their type cannot hold w_adv.

    Args:
        parameters: The weights that are perturbed.
        gradients: Their ascent gradients; a sparse one moves and saves only its rows. The list is emptied, so
            that its memory is free for the descent.
        rho: Radius, >= 0.
        adaptive: Whether each weight's part of the perturbation is scaled by the weight's size.
        measure: Whether to measure what reached the weights. Weights of 16 bits are measured in any case,
            since they may not hold w_adv.
        undo: Gets the action that puts the weights back.

    Source:
        Algorithm 1, line "w_adv": one global norm over all parameters together. Adaptive: equation 4 of Kwon
        et al. (2021), "ASAM", arXiv 2102.11600, with T_w = |w|.
    """
    weights = Weights(parameters, gradients)
    directions = [local(gradient) for gradient in gradients]
    if adaptive and directions:
        torch._foreach_mul_(directions, weights.now)  # the sign of w goes with the second time
    norm = global_norm(gradients)
    scale = rho / norm if norm > 0 else 0.0
    # NaN and infinity fail this, too, and so does what the kernels of the weights' type cannot multiply with.
    types = {torch.float32, *(weight.dtype for weight in weights.now)}
    taken = 0 < scale <= min(torch.finfo(kind).max for kind in types)
    radius: float | None = None if taken else 0.0
    moved = radius
    if taken:
        if adaptive:
            torch._foreach_mul_(directions, weights.now)
        undo.later(weights.back)
        weights.move(directions, scale)  # w_adv = w + rho * g / ||g||
        narrow = must_measure(parameters)
        if measure or narrow:
            radius, moved = measured(weights, gradients, adaptive)
        if narrow and radius is not None and not math.isfinite(radius):
            weights.back()
            taken, radius, moved = False, 0.0, 0.0
    directions.clear()
    gradients.clear()
    return Perturbation(norm=norm, radius=radius, moved=moved, taken=taken, weights=weights)


@contextmanager
def perturbed(
    parameters: Sequence[Tensor],
    gradients: list[Tensor],
    rho: float,
    *,
    adaptive: bool = False,
    measure: bool = True,
) -> Iterator[Perturbation]:
    """Moves the weights as `perturb` does, for the block of a `with` statement."""
    with undoing() as undo:
        yield perturb(parameters, gradients, rho, adaptive=adaptive, measure=measure, undo=undo)
