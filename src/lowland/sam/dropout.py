"""Which parts of a model drop out, for an ascent that does not."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from lowland.sam.parallel import unwrapped

OTHERWISE = (_NormBase, nn.RNNBase)
"""Whose training mode means more than dropout: without it BatchNorm would compute another function, and
CUDA's recurrent layers no gradient at all."""


def droppers(module: nn.Module) -> list[nn.Module]:
    """Lists the parts of a module that compute without dropout once their `training` is false.

    Args:
        module: Any module. Functions of dropout ask the part that calls them, so that every part counts.

    Returns:
        Those that are in training mode, but BatchNorms and recurrent layers, compiled ones too.
    """
    return [part for part in module.modules() if part.training and not isinstance(unwrapped(part), OTHERWISE)]
