"""The one place where the arms differ."""

from __future__ import annotations

from torch import nn

from lowland.errors import UserError
from lowland.sam import SAMConfig, SAMGradient, StandardGradient
from lowland.train.settings import TrainSettings


def build_gradient(model: nn.Module, train: TrainSettings, sam: SAMConfig) -> StandardGradient:
    """Builds the gradient: SAM's, or the baseline's where the radius is 0.

    Args:
        model: The model as its forward pass is called.
        train: Size of the micro-batches.
        sam: SAM's settings.

    Returns:
        What fills `.grad` in the training loop.

    Raises:
        UserError: If the model has no parameter of the names that are to be perturbed.
    """
    if sam.rho == 0:
        return StandardGradient(model, micro_batch_size=train.micro_batch_size)
    try:
        return SAMGradient(model, sam, micro_batch_size=train.micro_batch_size)
    except ValueError as error:  # patterns that match nothing in this model
        raise UserError(str(error)) from None
