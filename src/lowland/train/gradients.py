"""The one place where the arms differ."""

from __future__ import annotations

from typing import Any

from torch import nn

from lowland.errors import UserError
from lowland.sam import LookSAMGradient, PastSAMGradient, SAMGradient, StandardGradient
from lowland.train.settings import Arm, SAMSettings, TrainSettings


def build_gradient(arm: Arm, model: nn.Module, train: TrainSettings, sam: SAMSettings) -> StandardGradient:
    """Builds the gradient of an arm.

    Args:
        arm: `standard` or `sam`.
        model: The model as its forward pass is called.
        train: The settings that both arms share.
        sam: The settings of the SAM arm.

    Returns:
        What fills `.grad` in the training loop.

    Raises:
        UserError: If the model has no parameter of the names that are to be perturbed.
    """
    if arm == "standard":
        return StandardGradient(model, micro_batch_size=train.micro_batch_size)
    shared: dict[str, Any] = {
        "micro_batch_size": train.micro_batch_size,
        "perturb": sam.perturb,
        "adaptive": sam.adaptive,
        "swap": True,
    }
    try:
        if sam.direction != "ascent":
            return PastSAMGradient(model, rho=sam.rho, direction=sam.direction, **shared)
        options: dict[str, Any] = {
            "ascent": sam.ascent,
            "m": sam.m,
            "descent": sam.descent,
            "ascent_dropout": sam.ascent_dropout,
            "ascent_bf16": sam.ascent_bf16,
        }
        if sam.look:
            return LookSAMGradient(model, alpha=sam.look, rho=sam.rho, **options, **shared)
        return SAMGradient(model, rho=sam.rho, row_gradients=True, **options, **shared)
    except ValueError as error:  # patterns that match nothing in this model
        raise UserError(str(error)) from None
