"""Optimizers and schedules, with T5's settings where T5 has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler
from transformers.optimization import Adafactor

from lowland.train import adafactor
from lowland.train.muon import MuonWithAdamW
from lowland.train.settings import TrainSettings


def build_optimizer(model: nn.Module, settings: TrainSettings, *, fast: bool = False) -> Optimizer:
    """Builds the optimizer over the model's trainable parameters.

    Args:
        model: The model.
        settings: Which optimizer, at which learning rate.
        fast: Whether AdaFactor may differ from the library's by rounding.

    Returns:
        AdaFactor as T5 uses it (steps relative to the size of each weight, external learning rate, no
        momentum, update clipping at 1), AdamW that decays matrices only, or Muon with AdamW for the
        token embeddings, the output matrix and vectors.

    Source:
        Shazeer and Stern (2018); T5's fine-tuning settings.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adafactor":
        kind: Any = adafactor.Adafactor if fast else Adafactor
        optimizer: Optimizer = kind(
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
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def build_schedule(optimizer: Optimizer, settings: TrainSettings) -> LRScheduler:
    """Builds the learning-rate schedule: a linear warm-up, then constant, linear or cosine to 0."""
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    schedule: LRScheduler = get_scheduler(
        name, optimizer, num_warmup_steps=settings.warmup_steps, num_training_steps=settings.steps
    )
    return schedule
