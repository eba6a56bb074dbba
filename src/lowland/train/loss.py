"""The training loss: a batch on its device, under autocast if asked, and the mean over real target tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lowland.data import IGNORED, trim_padding


class BatchLoss:
    """The loss that `compute` gives of a module and a batch, trimmed and on its device."""

    def __init__(
        self,
        module: nn.Module,
        compute: Callable[[Any, dict[str, Tensor]], Tensor],
        device: torch.device,
        *,
        bf16: bool = False,
    ) -> None:
        self.module = module
        self._compute, self._device, self._bf16 = compute, device, bf16

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Computes the loss of a batch, which is best on the CPU, where it is trimmed."""
        moved = {
            name: value.to(self._device, non_blocking=True) for name, value in trim_padding(batch).items()
        }
        with torch.autocast(self._device.type, torch.bfloat16) if self._bf16 else nullcontext():
            return self._compute(self.module, moved)


def token_loss(logits: Tensor, labels: Tensor, z_loss: float = 0.0, label_smoothing: float = 0.0) -> Tensor:
    """Computes the mean loss over real target tokens, a scalar in fp32.

    `logits` are `# (..., vocabulary)`, `labels` `# (...)`, `IGNORED` where there is no token. `z_loss` weighs
    log(Z)^2, which keeps the softmax's normaliser near 1.

    Source:
        Mesh TensorFlow's softmax cross-entropy, with which T5 was trained (z_loss 1e-4).
    """
    real = labels != IGNORED
    scores = logits[real].float()  # (tokens, vocabulary)
    loss = cross_entropy(scores, labels[real], label_smoothing=label_smoothing)
    if z_loss:
        loss = loss + z_loss * torch.logsumexp(scores, dim=-1).square().mean()
    return loss
