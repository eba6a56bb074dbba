"""The one place where the arms differ."""

from __future__ import annotations

from torch import nn

from lowland.errors import UserError
from lowland.sam import SAMConfig, SAMGradient, StandardGradient
from lowland.train.settings import Arm, TrainSettings


def build_gradient(arm: Arm, model: nn.Module, train: TrainSettings, sam: SAMConfig) -> StandardGradient:
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
    try:
        return SAMGradient(model, sam, micro_batch_size=train.micro_batch_size)
    except ValueError as error:  # patterns that match nothing in this model
        raise UserError(str(error)) from None
