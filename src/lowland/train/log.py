"""What the log says of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lowland.sam import GradientInfo


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What the log says of the steps since its last line; a figure is `None` where there is none.

    Attributes:
        loss: Mean training loss over the steps (at w_adv under SAM), those left out that were skipped.
        gradient_norm: Global norm of the last step's gradient, before clipping.
        examples: Examples seen since the start.
        target_tokens: Real target tokens seen since the start.
        seconds: Time of the steps covered, evaluation left out.
        skipped: Updates left out since the start, because the loss or the gradient was not finite.
        ascent_loss: Mean loss of the ascent examples at w, as `ascent_norm` a mean over the steps.
        radius: Measured radius of the last step of SAM, as `moved` and `cosine` are of one step.
    """

    step: int
    loss: float | None
    learning_rate: float
    gradient_norm: float | None
    examples: int
    target_tokens: int
    seconds: float
    ascent_loss: float | None = None
    ascent_norm: float | None = None
    radius: float | None = None
    moved: float | None = None
    cosine: float | None = None
    skipped: int = 0

    @property
    def loss_text(self) -> str:
        """The loss as a user sees it."""
        return "-" if self.loss is None else f"{self.loss:.3f}"


def figures(infos: Sequence[GradientInfo]) -> dict[str, Any]:
    """Gives the fields of a `StepReport` that sum up what the gradients of its steps saw."""

    def mean(values: list[float | Tensor | None]) -> float | None:
        known = [float(value) for value in values if value is not None]
        return sum(known) / len(known) if known else None

    last = next((info for info in reversed(infos) if info.points), None)  # step of SAM
    return {
        "loss": float(torch.stack([info.loss for info in infos]).mean()) if infos else None,
        "ascent_loss": mean([info.ascent_loss for info in infos]),
        "ascent_norm": mean([info.ascent_norm for info in infos]),
        "radius": None if last is None else last.radius,
        "moved": None if last is None else last.moved,
        "cosine": next((info.cosine for info in reversed(infos) if info.cosine is not None), None),
    }


def to_plain(info: GradientInfo) -> dict[str, Any]:
    """Gives what a gradient saw as JSON values, for a saved state."""
    return {key: float(value) if isinstance(value, Tensor) else value for key, value in vars(info).items()}


def from_plain(values: dict[str, Any]) -> GradientInfo:
    """Gives back what `to_plain` was given."""
    tensors = {key: torch.tensor(values[key]) for key in ("loss", "ascent_loss") if values[key] is not None}
    return GradientInfo(**{**values, **tensors})
