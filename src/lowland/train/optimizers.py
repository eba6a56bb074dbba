"""Optimizers and schedules, with T5's settings where T5 has them."""

from __future__ import annotations

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from lowland.integrations.adafactor import t5_adafactor
from lowland.train.settings import TrainSettings


def build_optimizer(model: nn.Module, settings: TrainSettings) -> Optimizer:
    """Builds the optimizer: AdaFactor as T5 uses it, or AdamW that decays matrices only."""
    if settings.optimizer == "adafactor":
        return t5_adafactor(model, settings.learning_rate)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def build_schedule(optimizer: Optimizer, settings: TrainSettings) -> LRScheduler:
    """Builds the learning-rate schedule: a linear warm-up, then constant, linear or cosine to 0."""
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    schedule: LRScheduler = get_scheduler(
        name, optimizer, num_warmup_steps=settings.warmup_steps, num_training_steps=settings.steps
    )
    return schedule
