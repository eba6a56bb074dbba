"""Optimizers and schedules, with T5's settings where T5 has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler
from transformers.optimization import Adafactor

from lowland.train.settings import TrainSettings


def build_optimizer(model: nn.Module, settings: TrainSettings) -> Optimizer:
    """Builds the optimizer over the model's trainable parameters.

    Args:
        model: The model.
        settings: Which optimizer, at which learning rate.

    Returns:
        AdaFactor as T5 uses it (steps relative to the size of each weight, external learning rate, no
        momentum, update clipping at 1), AdamW that decays matrices only, or Muon with AdamW for the
        token embeddings, the output matrix and vectors.

    Source:
        Shazeer and Stern (2018); T5's fine-tuning settings.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adafactor":
        optimizer: Optimizer = Adafactor(
            parameters,
            lr=settings.learning_rate,
            scale_parameter=True,
            relative_step=False,
            warmup_init=False,
            clip_threshold=1.0,
            decay_rate=-0.8,
            beta1=None,
            weight_decay=0.0,
        )
        return optimizer
    if settings.optimizer == "muon":
        tables = {
            id(module.weight)
            for module in (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[operator]
            if module is not None
        } | {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        hidden = [p for p in parameters if p.dim() == 2 and id(p) not in tables]
        chosen = {id(parameter) for parameter in hidden}
        return MuonWithAdamW(
            hidden,
            [parameter for parameter in parameters if id(parameter) not in chosen],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
    return AdamW(_groups(parameters, settings.weight_decay), lr=settings.learning_rate, fused=True)


def _groups(parameters: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Parts parameters into those that decay, of two dimensions or more, and vectors, which do not."""
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_schedule(optimizer: Optimizer, settings: TrainSettings) -> LRScheduler:
    """Builds the learning-rate schedule: a linear warm-up, then constant, linear or cosine to 0."""
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    schedule: LRScheduler = get_scheduler(
        name, optimizer, num_warmup_steps=settings.warmup_steps, num_training_steps=settings.steps
    )
    return schedule


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
        self._muon = torch.optim.Muon(
            list(matrices), lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = AdamW(_groups(list(others), weight_decay), lr=lr, betas=(0.9, 0.98), fused=True)
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
