"""What one call of a gradient saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lowland.sam.perturb import Perturbation


@dataclass(frozen=True, kw_only=True)
class GradientInfo:
    """What one call of a gradient saw.

    Attributes:
        loss: Mean loss of the batch at the point where the descent gradient was taken: at w in standard
            training, at w_adv under SAM. A 0-d tensor without a graph, so that reading it is up to you.
        ascent_loss: Mean loss of the ascent examples at w, a 0-d tensor; `None` without an ascent pass.
        ascent_norm: Global norm of the direction of the ascent, a float; `None` in standard training.
        radius: Measured ||w_adv - w||_2, a float (adaptive: of (w_adv - w) / |w|): rho up to rounding, 0
            where the ascent gradient was zero or not finite, less than rho where the weights' type is too
            coarse (bf16). `None` where it was not measured.
        moved: Share of the perturbed weights that changed at all, from 0 to 1; `None` like the radius.
        cosine: Cosine between w_adv - w and the descent gradient, from -1 to 1: around 0 or below, the
            perturbation steps over what the descent could follow. `None` where it was not measured, or where
            `.grad` held something before.
        points: Number of adversarial points (m).
    """

    loss: Tensor
    ascent_loss: Tensor | None = None
    ascent_norm: float | None = None
    radius: float | None = 0.0
    moved: float | None = 0.0
    cosine: float | None = None
    points: int = 0


def point_info(
    loss: Tensor, done: Perturbation | None, ascent_loss: Tensor | None, cosine: float | None, scale: float
) -> GradientInfo:
    """Says what was seen at one point; without a perturbation, as in a baseline step."""
    if done is None:
        return GradientInfo(loss=loss)
    return GradientInfo(
        loss=loss,
        ascent_loss=ascent_loss,
        ascent_norm=done.norm / scale,
        radius=done.radius,
        moved=done.moved,
        cosine=cosine,
        points=1,
    )


def mean_info(infos: Sequence[GradientInfo]) -> GradientInfo:
    """Joins the points of one step: their losses carry their shares already, the rest is averaged."""
    if len(infos) == 1:
        return infos[0]
    names = ("ascent_loss", "ascent_norm", "radius", "moved", "cosine")
    means = {name: mean_known([getattr(info, name) for info in infos]) for name in names}
    return GradientInfo(loss=torch.stack([info.loss for info in infos]).sum(), points=len(infos), **means)


def mean_known(figures: Sequence[Any]) -> Any:
    """Averages the figures that are not `None`; gives `None` if all are."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None
