"""The one place where the arms differ: the gradient."""

from __future__ import annotations

import warnings

from torch import nn

from lowland.errors import UserError
from lowland.sam import SAMConfig, SAMGradient, StandardGradient
from lowland.train.settings import TrainSettings


def build_gradient(model: nn.Module, train: TrainSettings, sam: SAMConfig) -> StandardGradient:
    """Builds what fills `.grad` in the training loop: SAM, or at radius 0 the baseline's gradient."""
    if sam.rho == 0:
        return StandardGradient(model, micro_batch_size=train.micro_batch_size)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # the plan has said it
            return SAMGradient(model, sam, micro_batch_size=train.micro_batch_size)
    except ValueError as error:  # patterns that match nothing in this model
        raise UserError(str(error)) from None
