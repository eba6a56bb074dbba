"""The one place where the arms differ: loss and gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lowland.errors import UserError
from lowland.methods.embeddings import EmbeddingNoise
from lowland.sam import SAMConfig, SAMGradient, StandardGradient
from lowland.train.settings import TrainSettings


def build_loss(
    make: Callable[..., Any],
    device: torch.device,
    train: TrainSettings,
    *,
    bf16: bool,
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
) -> Any:
    """Builds the loss that a step descends on: what `make` makes of the model, with noise if asked for."""
    kind = train.embedding_noise
    loss = make(
        device,
        bf16=bf16,
        fast=train.operations != "library" and kind != "freelb",  # which measures each example
        z_loss=train.z_loss,
        label_smoothing=train.label_smoothing,
        wrap=wrap,
    )
    if kind == "none":
        return loss
    return EmbeddingNoise(loss, loss.module, kind, weight=train.embedding_weight)


def build_gradient(model: nn.Module, train: TrainSettings, sam: SAMConfig) -> StandardGradient:
    """Builds what fills `.grad` in the training loop: SAM, or at radius 0 the baseline's gradient."""
    if sam.rho == 0:
        return StandardGradient(model, micro_batch_size=train.micro_batch_size)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # the plan has said it
            return SAMGradient(model, sam, micro_batch_size=train.micro_batch_size)
    except ValueError as error:  # patterns that match nothing in this model
        raise UserError(str(error)) from None
