"""The perturbation: w_adv = w + rho * g / ||g||, and the way back to exactly w.

Nothing is subtracted on the way back: adding and subtracting epsilon leaves a rounding error in every weight,
in bf16 one larger than epsilon itself. Weights are copied, written over and copied back in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.sam.norms import global_norm, nonzero_count
from lowland.sam.parallel import local
from lowland.sam.rows import Rows
from lowland.sam.undo import Undo

WIDE = (torch.float32, torch.float64, torch.complex64, torch.complex128)
"""Types that hold w_adv wherever w is finite: below `LARGEST`, epsilon rounds away before they overflow."""

LARGEST = 1e18
"""The largest rho of which that is said; its square is finite, too."""


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """What was really done to the weights.

    Attributes:
        norm: Global L2 norm of the ascent gradient, of |w| g where adaptive.
        radius: Measured ||w_adv - w||_2, of (w_adv - w) / |w| where adaptive; rho up to rounding, 0 where the
            gradient gave no direction; `None` where it was not measured.
        moved: Share of the weights that differ from w at w_adv, from 0 to 1; `None` where not measured.
        taken: Whether the step to w_adv was taken: the gradient gave a direction, and the weights' type
            can hold where it leads. Rounding may still have lost all of it.
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
        gradients: Their ascent gradients, one each; of a table a sparse one by rows, in which case only these
            rows are moved and saved. The list is emptied, so that its memory is free for the descent.
        rho: Radius, >= 0.
        adaptive: Whether each weight's part of the perturbation is scaled by the weight's size.
        measure: Whether to measure what reached the weights, which costs as much again as moving them.
            Weights of 16 bits are measured in any case, since they may not hold w_adv.
        undo: Gets the action that puts the weights back.

    Returns:
        The perturbation as it was done.

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
        narrow = must_measure(parameters, rho)
        if measure or narrow:
            radius, moved = _measure(weights, gradients, adaptive)
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
    """Moves the weights as `perturb` does for the block of a `with` statement."""
    undo = Undo()
    try:
        yield perturb(parameters, gradients, rho, adaptive=adaptive, measure=measure, undo=undo)
    finally:
        try:
            undo()
        except BaseException:  # an interrupt, while the weights are put back
            undo()
            raise


def must_measure(parameters: Sequence[Tensor], rho: float) -> bool:
    """Tells whether the weights may not hold w_adv, so that what reaches them is measured in every step."""
    return rho > LARGEST or any(parameter.dtype not in WIDE for parameter in parameters)


class Weights:
    """Weights that are moved and put back.

    Args:
        parameters: The weights that are perturbed.
        gradients: Their gradients, one each. Sparse ones of tables are replaced by those of the rows
            that occur.

    Attributes:
        now: The weights to move, without autograd, then w_adv; of tables the rows that occur.
        saved: w, as soon as they are moved.
    """

    def __init__(self, parameters: Sequence[Tensor], gradients: list[Tensor]) -> None:
        self.parameters = list(parameters)
        self.now = [local(parameter) for parameter in parameters]
        self.rows: dict[int, Rows] = {}
        for index in range(len(gradients)):  # no name is left for a gradient, which is to be freed
            if gradients[index].is_sparse:
                gradients[index] = gradients[index].coalesce()
                self.rows[index] = Rows(self.now[index], gradients[index].indices()[0])
                self.now[index] = self.rows[index].weight
                gradients[index] = gradients[index].values()
        self.saved = list(self.now)

    def move(self, directions: list[Tensor], scale: float) -> None:
        """Moves the weights by scale times the directions."""
        for index, weight in enumerate(self.now):
            self.saved[index] = weight.clone()
        torch._foreach_add_(self.now, directions, alpha=scale)
        for index, rows in self.rows.items():
            rows.put(self.now[index])
        # A cast that autocast made of w must not be used at w_adv.
        torch.clear_autocast_cache()

    def back(self) -> None:
        """Puts the weights back, wherever `move` was broken off; a second time does no harm."""
        torch._foreach_copy_(self.now, self.saved)
        for index, rows in self.rows.items():
            rows.put(self.saved[index])
        torch.clear_autocast_cache()


def _measure(weights: Weights, gradients: list[Tensor], adaptive: bool) -> tuple[float, float]:
    """Measures what arrived, in the gradients' own memory: in bf16 most of epsilon rounds away.

    Returns:
        Its norm, by the weights' size where adaptive, and the share of the weights that moved.
    """
    epsilons = [local(gradient) for gradient in gradients]
    torch._foreach_copy_(epsilons, weights.now)
    torch._foreach_sub_(epsilons, weights.saved)
    moved = nonzero_count(gradients)
    if adaptive:
        for epsilon, weight in zip(epsilons, weights.saved, strict=True):
            epsilon.div_(weight).masked_fill_(weight == 0, 0)  # a weight of 0 never moves
    size = sum(parameter.numel() * (2 if parameter.is_complex() else 1) for parameter in weights.parameters)
    return global_norm(gradients), moved / size
