"""What really reached the weights: radius, share of moved weights, and the cosine with the descent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lowland.parameters.norms import global_norm, nonzero_count
from lowland.parameters.parallel import local, shard_sums
from lowland.sam.weights import Weights

WIDE = (torch.float32, torch.float64, torch.complex64, torch.complex128)
"""Types that hold w_adv wherever w is finite."""


def must_measure(parameters: Sequence[Tensor]) -> bool:
    """Tells whether the weights may not hold w_adv, so that what reaches them is measured in every step."""
    return any(parameter.dtype not in WIDE for parameter in parameters)


def measured(weights: Weights, gradients: list[Tensor], adaptive: bool) -> tuple[float, float]:
    """Measures the norm of what arrived and the share of the weights that moved, in the gradients' memory."""
    epsilons = [local(gradient) for gradient in gradients]
    torch._foreach_copy_(epsilons, weights.now)
    torch._foreach_sub_(epsilons, weights.saved)
    moved = nonzero_count(gradients)
    if adaptive:
        for epsilon, weight in zip(epsilons, weights.saved, strict=True):
            epsilon.div_(weight).masked_fill_(weight == 0, 0)  # a weight of 0 never moves
    size = sum(parameter.numel() * (2 if parameter.is_complex() else 1) for parameter in weights.parameters)
    return global_norm(gradients), moved / size


def descent_cosine(weights: Weights) -> float | None:
    """Computes the cosine between w_adv - w and the gradient at w_adv, `.grad`, while the weights are there.

    Near 1, the ascent and the descent see one slope. Around 0 or below, the perturbation steps over what the
    descent could follow. `None` where either is zero or not finite.
    """
    figures = []
    for index, (now, saved) in enumerate(zip(weights.now, weights.saved, strict=True)):
        gradient = weights.parameters[index].grad
        epsilon = (now - saved).flatten()  # one tensor at a time: no copy of all weights is made
        wide = torch.promote_types(epsilon.dtype, torch.float32)
        epsilon = epsilon.to(wide)
        if gradient is None:
            descent = torch.zeros_like(epsilon)
            rest = torch.zeros((), dtype=wide, device=epsilon.device)
        else:
            whole = local(gradient.to_dense() if gradient.is_sparse else gradient)
            part = whole[weights.rows[index]] if index in weights.rows else whole
            descent = part.flatten().to(wide)
            rest = torch.linalg.vector_norm(whole, dtype=wide).square()
        products = torch.stack([torch.dot(epsilon, descent), torch.dot(epsilon, epsilon), rest])
        figures.append(products.cpu().double())
    if not figures:
        return None
    sums = shard_sums(torch.stack(figures), weights.parameters).sum(0)
    dot, epsilon_square, descent_square = (float(figure) for figure in sums)
    lengths = math.sqrt(epsilon_square) * math.sqrt(descent_square)
    if not 0 < lengths < math.inf or not math.isfinite(dot):
        return None
    return max(-1.0, min(1.0, dot / lengths))
