"""Perturbations in the optimizer's own measure: each weight's part is divided by its usual gradient."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer

from lowland.parameters.parallel import refuse_sharded

EPSILON = 1e-8
"""As AdamW's."""


def second_moment(optimizer: Optimizer, parameter: Tensor) -> Tensor | None:
    """Gives the running mean of a weight's squared gradients, up to a factor that all weights share.

    Source:
        AdaFactor's factors: Shazeer and Stern (2018), Algorithm 4.
    """
    state = optimizer.state.get(parameter, {})
    if "exp_avg_sq_row" in state:
        row, column = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
        moment: Tensor = (row / row.mean(-1, keepdim=True))[..., :, None] * column[..., None, :]
        return moment
    plain: Tensor | None = state.get("exp_avg_sq")
    return plain


def precondition(optimizer: Optimizer | None, parameters: Sequence[Tensor], gradients: list[Tensor]) -> None:
    """Divides ascent gradients, in place, by the roots of the optimizer's second moments.

    The perturbation then has the direction of Adam's step instead of the gradient's. Before the optimizer's
    first step it is the gradient's.

    Source:
        The preconditioned perturbation of Singh et al. (2025), arXiv 2502.02407. That its L2 norm stays rho
        is our choice: a radius then means the same with and without.
    """
    if optimizer is None:
        raise ValueError("precondition=True needs the optimizer: set sam.optimizer = optimizer.")
    refuse_sharded(parameters, "precondition=True")
    if not optimizer.state:
        return
    for parameter, gradient in zip(parameters, gradients, strict=True):
        moment = second_moment(optimizer, parameter)
        if moment is None:
            if optimizer.state.get(parameter):
                raise ValueError(
                    f"precondition=True needs second moments, which {type(optimizer).__name__} does not "
                    "keep. Use AdamW or AdaFactor."
                )
            gradient.zero_()  # it has had no gradient yet
            continue
        gradient.div_(moment.sqrt().add_(EPSILON).to(gradient.dtype))
