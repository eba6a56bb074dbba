"""Rivals of SAM that perturb the input's embeddings instead of the weights: R3F, SMART, FreeLB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, mse_loss

from lowland.methods.functional import logits_of
from lowland.parameters.parallel import owner_of

Kind = Literal["r3f", "smart", "freelb"]
SIZES: dict[Kind, float] = {"r3f": 1e-5, "smart": 1e-5, "freelb": 0.1}
"""The papers' sizes of the perturbation: of each number, but of FreeLB the norm of an example's."""

PASSES = 2
"""Passes of FreeLB."""


class EmbeddingNoise:
    """A loss that asks for answers that stay when the input's embeddings are moved.

    `r3f` adds the symmetric divergence between the answers with and without uniform noise; 2F + 2B. `smart`
    takes instead of the noise one step of ascent on that divergence, without the paper's second part, its
    proximal term; 3F + 3B. `freelb` is the mean loss under two perturbations, the second a step of ascent
    after the first; 3F and 3B. Models that read and write by one table have noise in both.

    Args:
        loss_fn: The mean loss of a batch.
        module: The model as its forward pass is called; its output is the logits, or has `logits`.
        kind: Which.
        weight: Weight of the divergence; FreeLB has none.
        size: Size of the perturbation; `None` for the paper's.

    Source:
        R3F: Aghajanyan et al. (2020), arXiv 2008.03156. SMART: Jiang et al. (2020), arXiv 1911.03437.
        FreeLB: Zhu et al. (2020), arXiv 1909.11764.
    """

    def __init__(
        self,
        loss_fn: Callable[[Any], Tensor],
        module: nn.Module,
        kind: Kind,
        *,
        weight: float = 1.0,
        size: float | None = None,
    ) -> None:
        self.module = module
        self._loss_fn, self._kind, self._weight = loss_fn, kind, weight
        self._size = SIZES[kind] if size is None else size
        inner = owner_of(module, "get_input_embeddings")
        table = inner.get_input_embeddings()
        parts = [part for part in inner.modules() if isinstance(part, nn.Embedding)]
        # T5's encoder and decoder have a module each, with one weight.
        self._tables = [part for part in parts if part.weight is table.weight] or [table]

    def __call__(self, batch: Any) -> Tensor:
        """Computes the loss of a batch; outside of training, the loss alone."""
        if not (self.module.training and torch.is_grad_enabled()):
            return self._loss_fn(batch)
        if self._kind == "freelb":
            return self._freelb(batch)
        loss, logits, shapes = self._run(batch)
        (slope,) = torch.autograd.grad(loss, logits, retain_graph=True)
        real = slope.abs().sum(-1) > 0  # padding has no part in the loss
        if self._kind == "r3f":
            moves = [torch.empty_like(one).uniform_(-self._size, self._size) for one in shapes]
        else:
            moves = [(torch.randn_like(one) * self._size).requires_grad_() for one in shapes]
            _, moved, _ = self._run(batch, moves)
            found = torch.autograd.grad(divergence(logits[real].detach(), moved[real]), moves)
            moves = [self._size * one / one.abs().amax(-1, keepdim=True).clamp_min(1e-12) for one in found]
        _, moved, _ = self._run(batch, moves)
        return loss + self._weight * divergence(logits[real], moved[real])

    def _freelb(self, batch: Any) -> Tensor:
        _, _, shapes = self._run(batch)
        moves = [
            torch.empty_like(one).uniform_(-1, 1) * (self._size / one[0].numel() ** 0.5) for one in shapes
        ]
        losses = []
        for number in range(PASSES):
            for one in moves:
                one.requires_grad_()
            loss, _, _ = self._run(batch, moves)
            losses.append(loss)
            if number < PASSES - 1:
                found = torch.autograd.grad(loss, moves, retain_graph=True)
                moves = [
                    (one + self._size * unit(slope)).detach() for one, slope in zip(moves, found, strict=True)
                ]
        return torch.stack(losses).mean()

    def _run(self, batch: Any, moves: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Computes the loss with moved embeddings; gives the logits and the embeddings of each call, too."""
        logits: list[Tensor] = []
        seen: list[Tensor] = []

        def move(table: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            seen.append(output.detach())
            return output + moves[len(seen) - 1] if moves else None

        with ExitStack() as hooks:
            for table in self._tables:
                hooks.callback(table.register_forward_hook(move).remove)
            keep = self.module.register_forward_hook(lambda m, i, out: logits.append(logits_of(out)))
            hooks.callback(keep.remove)
            loss = self._loss_fn(batch)
        return loss, logits[-1], seen


def unit(slope: Tensor) -> Tensor:
    """Brings each example's part to length 1. `# (examples, ...)`."""
    length = torch.linalg.vector_norm(slope.flatten(1), dim=1).clamp_min(1e-12)
    found: Tensor = slope / length.reshape(-1, *[1] * (slope.dim() - 1))
    return found


def divergence(left: Tensor, right: Tensor) -> Tensor:
    """Computes the mean symmetric Kullback-Leibler divergence of logits; of numbers the squared error."""
    if left.shape[-1] == 1:
        return mse_loss(left, right)
    p, q = (one.flatten(0, -2).float().log_softmax(-1) for one in (left, right))
    both = [kl_div(p, q, reduction="batchmean", log_target=True)]
    both.append(kl_div(q, p, reduction="batchmean", log_target=True))
    return both[0] + both[1]
