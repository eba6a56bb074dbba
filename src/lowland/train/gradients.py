"""The one place where the arms differ."""

from __future__ import annotations

from torch import nn

from lowland.sam import SAMGradient, StandardGradient
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
    """
    if arm == "standard":
        return StandardGradient(model, micro_batch_size=train.micro_batch_size)
    return SAMGradient(
        model,
        rho=sam.rho,
        ascent=sam.ascent,
        m=sam.m,
        descent=sam.descent,
        micro_batch_size=train.micro_batch_size,
    )
