"""Algorithm 1 out of place, in the fewest lines: to read beside the paper, and to test against.

No modules, no `.grad`, no batches in pieces: weights in, gradient out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lowland.sam.batch import rows

Loss = Callable[[Sequence[Tensor], Any], Tensor]
"""Mean loss of a batch at given weights: `loss(weights, batch)`, a scalar with a graph."""


def sam_gradient(
    loss: Loss, w: Sequence[Tensor], batch: Any, *, rho: float, a: int, adaptive: bool = False
) -> list[Tensor]:
    """Computes the SAM gradient of one batch.

    Args:
        loss: Mean loss at given weights.
        w: The weights, each with `requires_grad`; they are not changed.
        batch: The batch B; see `lowland.sam.batch`.
        rho: Radius.
        a: Number of ascent examples.
        adaptive: Whether the perturbation is measured weight by weight, by the weight's size.

    Returns:
        g_adv, one tensor a weight.

    Source:
        Algorithm 1 of Bahri, Mobahi and Tay (2022); adaptive: equation 4 of Kwon et al. (2021), ASAM.
    """
    ascent_examples = rows(batch, 0, a)
    g = torch.autograd.grad(loss(w, ascent_examples), w)
    t = [w_i.abs() if adaptive else torch.ones_like(w_i) for w_i in w]
    norm = torch.sqrt(
        sum(((t_i * g_i).square().sum() for t_i, g_i in zip(t, g, strict=True)), torch.zeros(()))
    )
    epsilon = [rho * t_i.square() * g_i / norm for t_i, g_i in zip(t, g, strict=True)]
    w_adv = [(w_i + e_i).detach().requires_grad_() for w_i, e_i in zip(w, epsilon, strict=True)]
    return list(torch.autograd.grad(loss(w_adv, batch), w_adv))
