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


def sam_gradient(loss: Loss, w: Sequence[Tensor], batch: Any, *, rho: float, a: int) -> list[Tensor]:
    """Computes the SAM gradient of one batch.

    Args:
        loss: Mean loss at given weights.
        w: The weights, each with `requires_grad`; they are not changed.
        batch: The batch B; see `lowland.sam.batch`.
        rho: Radius.
        a: Number of ascent examples.

    Returns:
        g_adv, one tensor a weight.

    Source:
        Algorithm 1 of Bahri, Mobahi and Tay (2022).
    """
    ascent_examples = rows(batch, 0, a)
    g = torch.autograd.grad(loss(w, ascent_examples), w)
    norm = torch.sqrt(sum((g_i.square().sum() for g_i in g), torch.zeros(())))
    w_adv = [(w_i + rho * g_i / norm).detach().requires_grad_() for w_i, g_i in zip(w, g, strict=True)]
    return list(torch.autograd.grad(loss(w_adv, batch), w_adv))
