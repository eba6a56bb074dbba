"""Fisher-masked SAM: only the weights that matter most for the ascent examples are perturbed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lowland.parameters.parallel import refuse_sharded


def mask_smallest(parameters: Sequence[Tensor], gradients: list[Tensor], share: float) -> None:
    """Sets ascent gradients to zero, in place, but for the `share` of all weights where they are largest.

    The empirical Fisher information is the squared gradient. The paper takes it of single examples and renews
    the mask every 50 to 200 steps; here it is that of the ascent examples together, of every step.

    Source:
        Zhong et al. (2022), "Improving Sharpness-Aware Minimization with Fisher Mask for Better
        Generalization on Language Models", arXiv 2210.05497.
    """
    refuse_sharded(parameters, "fisher=")
    total = sum(parameter.numel() for parameter in parameters)
    sizes = torch.cat([gradient.abs().flatten().float() for gradient in gradients])
    kept = min(max(1, round(share * total)), len(sizes))
    least = sizes.kthvalue(len(sizes) - kept + 1).values
    for gradient in gradients:
        gradient.masked_fill_(gradient.abs().float() < least, 0)
