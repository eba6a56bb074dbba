"""Muon for the matrices of a model and AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer


class MuonWithAdamW(Optimizer):
    """Steps hidden matrices by Muon, and embeddings, output matrix and vectors by AdamW.

    Muon makes the step of a matrix orthogonal; it is meant for matrices that map activations to
    activations, and its steps are scaled to the size of AdamW's, so that both share one learning rate.

    Args:
        matrices: Hidden weights, two-dimensional.
        others: All other parameters.
        lr: Learning rate of both.
        weight_decay: Of both, on everything that has two dimensions.

    Source:
        Jordan et al. (2024), by `torch.optim.Muon`; the scaling of Moonshot AI (2025).
    """

    def __init__(
        self, matrices: Iterable[Tensor], others: Iterable[Tensor], *, lr: float, weight_decay: float = 0.0
    ) -> None:
        others = list(others)
        tables = [parameter for parameter in others if parameter.dim() >= 2]
        vectors = [parameter for parameter in others if parameter.dim() < 2]
        self._muon = torch.optim.Muon(
            list(matrices), lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = AdamW(
            [
                group
                for group in (
                    {"params": tables, "weight_decay": weight_decay},
                    {"params": vectors, "weight_decay": 0.0},
                )
                if group["params"]
            ],
            lr=lr,
            betas=(0.9, 0.98),
        )
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Lets both parts work on this optimizer's groups and state, so that schedules and states fit."""
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes one step."""
        loss = None if closure is None else closure()
        self._muon.step()
        self._adamw.step()
        return loss
