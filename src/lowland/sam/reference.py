"""Algorithm 1 out of place, in the fewest lines: to read beside the paper, and to test against.

No modules, no `.grad`, no batches in pieces: weights in, gradient out.

Args of both functions:
    loss: Mean loss of a batch at given weights: `loss(weights, batch)`, a scalar with a graph.
    w: The weights, each with `requires_grad`; they are not changed.
    batch: The batch B; see `lowland.batches.batch`.
    rho: Radius.
    a: Number of ascent examples.

They return g_adv, one tensor a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lowland.batches.batch import rows

Loss = Callable[[Sequence[Tensor], Any], Tensor]


def sam_gradient(loss: Loss, w: Sequence[Tensor], batch: Any, *, rho: float, a: int) -> list[Tensor]:
    """Computes the SAM gradient of one batch.

    Source:
        Algorithm 1 of Bahri, Mobahi and Tay (2022).
    """
    g = torch.autograd.grad(loss(w, rows(batch, 0, a)), w)
    norm = torch.linalg.vector_norm(torch.cat([g_i.flatten() for g_i in g]))
    w_adv = [(w_i + rho * g_i / norm).detach().requires_grad_() for w_i, g_i in zip(w, g, strict=True)]
    return list(torch.autograd.grad(loss(w_adv, batch), w_adv))


def asam_gradient(loss: Loss, w: Sequence[Tensor], batch: Any, *, rho: float, a: int) -> list[Tensor]:
    """Computes the gradient of adaptive SAM, whose perturbation is measured by the weights' sizes.

    Source:
        Equation 4 of Kwon et al. (2021), "ASAM", arXiv 2102.11600, with T_w = |w|.
    """
    g = torch.autograd.grad(loss(w, rows(batch, 0, a)), w)
    pairs = list(zip(w, g, strict=True))
    norm = torch.linalg.vector_norm(torch.cat([(w_i.abs() * g_i).flatten() for w_i, g_i in pairs]))
    w_adv = [(w_i + rho * w_i.square() * g_i / norm).detach().requires_grad_() for w_i, g_i in pairs]
    return list(torch.autograd.grad(loss(w_adv, batch), w_adv))
