"""What the log says of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lowland.sam.info import GradientInfo, mean_known


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What the log says of the steps since its last line; a figure is `None` where there is none.

    `loss` (at w_adv under SAM), `ascent_loss` and `ascent_norm` are means over these steps, without those
    that were `skipped`; `radius`, `moved`, `cosine` and `gradient_norm` (before clipping) are of one step;
    `examples`, `target_tokens` and `skipped` count from the start; `seconds` are without evaluations.
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


def seen(info: GradientInfo) -> dict[str, Any]:
    """Gives what a gradient saw as JSON values."""
    return {key: float(value) if isinstance(value, Tensor) else value for key, value in vars(info).items()}


def figures(infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Gives the fields of a `StepReport` that sum up what the gradients of its steps saw."""
    means = {
        name: mean_known([info[name] for info in infos]) for name in ("loss", "ascent_loss", "ascent_norm")
    }
    last: dict[str, Any] = next((info for info in reversed(infos) if info["points"]), {})  # a step of SAM
    cosine = next((info["cosine"] for info in reversed(infos) if info["cosine"] is not None), None)
    return {**means, "radius": last.get("radius"), "moved": last.get("moved"), "cosine": cosine}
