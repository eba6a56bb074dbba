"""The perturbation: the step to w_adv along the ascent gradient, what of it was done, and the way back."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.sam.parallel import local, shard_sums
from lowland.sam.weights import Weights


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
    """

    norm: float
    radius: float | None
    moved: float | None
    taken: bool


WIDE = (torch.float32, torch.float64)
"""Types that hold w_adv wherever w is finite: below `LARGEST`, epsilon rounds away before they overflow."""

LARGEST = 1e18
"""The largest rho of which that is said; its square is finite, too."""


def perturb(
    parameters: Sequence[Tensor],
    gradients: list[Tensor],
    rho: float,
    measure: bool = True,
    adaptive: bool = False,
    swap: Callable[[Tensor], bool] | None = None,
) -> Generator[Perturbation, None, None]:
    """Moves the weights to w + rho * g / ||g|| at `next()`, and back to exactly w at `close()`.

    Where adaptive, to w + rho * w^2 g / || |w| g ||, element by element: the perturbation of each weight is
    measured by the weight.

    A gradient of norm zero or with an element that is not finite gives no direction: the weights
    then stay at w, and the radius says so. They stay, too, where their type cannot hold w_adv.

    This is `perturbed` for those who must be safe from Ctrl-C at every instruction: `close()` in a
    `finally` is one call into the interpreter, while the exit of a `with` block starts with a
    function of its own, in front of which an interrupt may strike.

    Args:
        parameters: The weights that are perturbed.
        gradients: Their ascent gradients, one each; of a table a sparse one by rows, in which case only these
            rows are moved and saved. The list is emptied, so that their memory is free for the descent.
        rho: Radius, >= 0.
        measure: Whether to measure what reached the weights, which costs as much again as moving them.
            Weights of 16 bits are measured in any case, since they may not hold w_adv.
        adaptive: Whether each weight's part of the perturbation is measured by the weight's size.
        swap: Which weights w_adv takes the place of instead of being written over them; see `SAMGradient`.

    Yields:
        The perturbation as it was done.

    Source:
        Algorithm 1, line "w_adv": one global norm over all parameters together. Adaptive: equation 4 of Kwon
        et al. (2021), "ASAM", arXiv 2102.11600, with T_w = |w|.
    """
    weights = Weights(parameters, gradients, swap)
    directions = [local(gradient) for gradient in gradients]
    if adaptive and directions:
        torch._foreach_mul_(directions, weights.now)  # the sign of w goes with the second time
    norm = global_norm(gradients)
    scale = rho / norm if norm > 0 else 0.0
    # NaN and infinity fail this, too, and so does what the kernels of the weights' type cannot multiply with.
    types = {torch.float32, *(weight.dtype for weight in weights.now)}
    if not 0 < scale <= min(torch.finfo(kind).max for kind in types):
        directions.clear()
        gradients.clear()
        yield Perturbation(norm=norm, radius=0.0, moved=0.0, taken=False)
        return
    if adaptive:
        torch._foreach_mul_(directions, weights.now)
    narrow = must_measure(weights.now, rho)
    try:
        weights.move(directions, scale)
        radius = moved = None
        if measure or narrow:
            radius, moved = _measure(weights, gradients, adaptive)
            moved /= sum(parameter.numel() for parameter in parameters)
        taken = math.isfinite(radius) if narrow and radius is not None else True
        if not taken:
            weights.back()
            radius = moved = 0.0
        directions.clear()
        gradients.clear()
        yield Perturbation(norm=norm, radius=radius, moved=moved, taken=taken)
    finally:
        try:
            weights.back()
        except BaseException:  # a second Ctrl-C, while restoring: the weights come first
            weights.back()
            raise


perturbed = contextmanager(perturb)
"""`with perturbed(parameters, gradients, rho) as done:` runs the block at w_adv. See `perturb`."""


def must_measure(weights: Sequence[Tensor], rho: float) -> bool:
    """Tells whether the weights may not hold w_adv, so that what reaches them is measured in every step."""
    return rho > LARGEST or any(weight.dtype not in WIDE for weight in weights)


def global_norm(tensors: Sequence[Tensor]) -> float:
    """Computes one L2 norm over all tensors together, across shards, in fp32 at least.

    Args:
        tensors: Any shapes, types and devices; DTensors count with all their shards.

    Returns:
        The norm; not finite where an element is not.
    """

    def squares(group: list[Tensor]) -> Tensor:
        # The sums of fp16 would overflow, and those of bf16 know two digits.
        accumulate = torch.float64 if group[0].dtype == torch.float64 else torch.float32
        return torch.stack(list(torch._foreach_norm(group, 2, dtype=accumulate))).cpu().double().square()

    return math.sqrt(_total(tensors, squares))


def global_dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """Computes one scalar product over all tensors together, across shards, in fp32 at least.

    Args:
        left: Any shapes, types and devices; DTensors count with all their shards.
        right: As many, of the same shapes and devices.

    Returns:
        The scalar product; not finite where an element is not.
    """
    products = []
    for pair in zip(left, right, strict=True):
        one, other = (local(tensor).flatten() for tensor in pair)
        wide = torch.promote_types(torch.promote_types(one.dtype, other.dtype), torch.float32)
        products.append(torch.dot(one.to(wide), other.to(wide)))
    if not products:
        return 0.0
    figures = torch.stack([product.to(products[0]) for product in products]).cpu().double()
    return float(shard_sums(figures, left).sum())


def _total(tensors: Sequence[Tensor], figure: Callable[[list[Tensor]], Tensor]) -> float:
    """Adds a figure up over all tensors and shards; `figure` sees those of one device and type at once."""
    pieces = [local(tensor) for tensor in tensors]
    kinds: dict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
    for index, piece in enumerate(pieces):
        kinds[piece.device, piece.dtype].append(index)
    figures = torch.zeros(len(pieces), dtype=torch.float64, device="cpu")
    for members in kinds.values():
        figures[members] = figure([pieces[index] for index in members])
    return float(shard_sums(figures, tensors).sum())


def _measure(weights: Weights, gradients: list[Tensor], adaptive: bool) -> tuple[float, float]:
    """Measures what arrived, in the gradients' own memory: in bf16 most of epsilon rounds away.

    Returns:
        Its norm, by the weights' size where adaptive, and how many weights it moved.
    """
    epsilons = [local(gradient) for gradient in gradients]
    torch._foreach_copy_(epsilons, weights.now)
    torch._foreach_sub_(epsilons, weights.saved)

    def counts(group: list[Tensor]) -> Tensor:
        return torch.stack([epsilon.count_nonzero() for epsilon in group]).cpu().double()

    moved = _total(gradients, counts)
    if adaptive:
        for epsilon, weight in zip(epsilons, weights.saved, strict=True):
            epsilon.div_(weight).masked_fill_(weight == 0, 0)  # a weight of 0 never moves
    return global_norm(gradients), moved
