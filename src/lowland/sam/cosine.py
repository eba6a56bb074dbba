"""The cosine between the perturbation and the descent gradient: does SAM climb and descend one slope?"""

from __future__ import annotations

import math

import torch

from lowland.sam.parallel import local, shard_sums
from lowland.sam.perturb import Weights


def descent_cosine(weights: Weights) -> float | None:
    """Computes the cosine between w_adv - w and the gradient at w_adv, while the weights are there.

    w_adv - w is along the ascent gradient unless the perturbation is adaptive. Near 1, the ascent and the
    descent see one slope. Around 0 or below, the perturbation steps over what the descent could follow:
    rho is large beside the gradient over the curvature.

    Args:
        weights: The perturbed weights, whose parameters' `.grad` is the descent gradient and nothing else.

    Returns:
        The cosine over all perturbed weights together; `None` where either is zero or not finite.
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
            part = whole[weights.rows[index].index] if index in weights.rows else whole
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
