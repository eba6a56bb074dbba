"""The methods out of place, in the fewest lines: to read beside their papers, and to test against.

As in `lowland.sam.reference`: weights in, gradient out. `score(w, batch)` gives the logits of a batch at
given weights, and `loss(logits, batch)` its mean loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lowland.batches.batch import rows

Score = Callable[[Sequence[Tensor], Any], Tensor]
LossOfLogits = Callable[[Tensor, Any], Tensor]


def functional_gradient(
    score: Score, loss: LossOfLogits, w: Sequence[Tensor], batch: Any, *, rho: float, a: int
) -> list[Tensor]:
    """Computes J(w_adv)^T dL/dlogits(w).

    Source:
        Functional SAM, Singh et al. (2025), arXiv 2502.02407.
    """
    first = rows(batch, 0, a)
    w_adv = moved(w, torch.autograd.grad(loss(score(w, first), first), w), rho)
    logits = score(w, batch).detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(logits, batch), logits)
    return list(torch.autograd.grad(score(w_adv, batch), w_adv, slope))


def fisher_gradient(
    score: Score, loss: LossOfLogits, w: Sequence[Tensor], batch: Any, *, rho: float, a: int, share: float
) -> list[Tensor]:
    """Computes the gradient at a w_adv where only the weights with the largest ascent gradients have moved.

    Source:
        Fisher-masked SAM, Zhong et al. (2022), arXiv 2210.05497.
    """
    first = rows(batch, 0, a)
    g = torch.autograd.grad(loss(score(w, first), first), w)
    sizes = torch.cat([g_i.abs().flatten() for g_i in g]).sort(descending=True).values
    least = sizes[max(1, round(share * len(sizes))) - 1]
    w_adv = moved(w, [torch.where(g_i.abs() >= least, g_i, 0) for g_i in g], rho)
    return list(torch.autograd.grad(loss(score(w_adv, batch), batch), w_adv))


def moved(w: Sequence[Tensor], g: Sequence[Tensor], rho: float) -> list[Tensor]:
    """Computes w + rho * g / ||g||."""
    norm = torch.linalg.vector_norm(torch.cat([g_i.flatten() for g_i in g]))
    return [(w_i + rho * g_i / norm).detach().requires_grad_() for w_i, g_i in zip(w, g, strict=True)]


def bi_lora_gradients(
    loss: Callable[[Tensor, Any], Tensor], w: Tensor, a: Tensor, b: Tensor, batch: Any, *, rho: float
) -> tuple[Tensor, ...]:
    """Computes the gradients of W, B and A at W + B A, clipped to rho: one to descend on, two to ascend on.

    Source:
        Bi-LoRA, Liu et al. (2025), arXiv 2508.19564, equations 9 and 10; W is W_0 + B_1 A_1.
    """
    clip = min(1.0, rho / float((b @ a).norm() + 1e-30)) ** 0.5
    a, b = (clip * a).detach().requires_grad_(), (clip * b).detach().requires_grad_()
    return (*torch.autograd.grad(loss(w + b @ a, batch), (w, b, a)), b, a)
