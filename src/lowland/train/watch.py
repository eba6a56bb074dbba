"""Watching a training go wrong: sentences, each said once, for the log and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lowland.sam.config import SAMConfig
from lowland.sam.plateau import HELD, PlateauWatch
from lowland.train.settings import TrainSettings

if TYPE_CHECKING:
    from lowland.train.loop import StepReport

PATIENCE = 3
"""Lines of the log in a row before a loss is called exploded."""

EXPLODED = 2.0
"""Times the lowest loss so far, and above the first one, that an exploded loss is at least."""

FAR_BELOW = 0.5
"""Of rho; a measured radius below this means that much of the perturbation never reached the weights."""


class Watch:
    """Reads the lines of a training log and says what is wrong.

    What it says depends on the lines alone, so that an interrupted training that reads its log again
    goes on as if it had not stopped.

    Args:
        settings: How it is trained.
        sam: SAM's settings.
    """

    def __init__(self, settings: TrainSettings, sam: SAMConfig) -> None:
        self._settings = settings
        self._sam = sam
        self._first: float | None = None
        self._lowest = 0.0
        self._lowest_step = 0
        self._high = 0
        self._said: set[str] = set()
        number = sam.ascent_examples
        share = sam.ascent if number is None else min(1.0, number / settings.batch_size)
        self._plateau = PlateauWatch(share if sam.direction == "ascent" else 0.0)

    def beforehand(self) -> list[str]:
        """Says what the settings alone tell."""
        found = []
        settings = self._settings
        if settings.warmup_steps >= settings.steps:
            found.append(
                f"The learning rate never reaches {settings.learning_rate:g}: its warm-up of "
                f"{settings.warmup_steps} steps is as long as the training or longer."
            )
        return found

    def __call__(self, report: StepReport) -> list[str]:
        """Reads a line of the log; returns what it tells for the first time."""
        found = {
            "explosion": self._explosion(report),
            "rate": self._rate(report),
            "radius": self._radius(report),
            "plateau": self._held(report),
        }
        new = {kind: sentence for kind, sentence in found.items() if sentence and kind not in self._said}
        self._said |= set(new)
        return list(new.values())

    def skipped(self, steps: Sequence[int]) -> list[str]:
        """Says how many updates were left out, at the end of a training."""
        if not steps:
            return []
        return [
            f"{len(steps)} of {self._settings.steps} updates were left out, the first at step {steps[0]}, "
            "because the loss or the gradient was not finite."
        ]

    def _explosion(self, report: StepReport) -> str | None:
        loss = report.loss
        if loss is None:
            return None
        if self._first is None:
            self._first = self._lowest = loss
            self._lowest_step = report.step
        self._high = self._high + 1 if loss > max(self._first, EXPLODED * self._lowest) else 0
        if loss < self._lowest:
            self._lowest, self._lowest_step = loss, report.step
        if self._high < PATIENCE:
            return None
        other = " or rho" if self._sam.rho else ""
        return (
            f"The loss exploded: it is {loss:.3g} at step {report.step} and was {self._lowest:.3g} at step "
            f"{self._lowest_step}; lower the learning rate{other}, or clip the gradient."
        )

    def _rate(self, report: StepReport) -> str | None:
        # The first step of a warm-up is at 0, which is as it should be.
        if report.learning_rate > 0 or report.step == 1:
            return None
        return f"The learning rate is 0 at step {report.step}: nothing is learnt there."

    def _held(self, report: StepReport) -> str | None:
        loss = report.loss if report.ascent_loss is None else report.ascent_loss
        if loss is None or report.cosine is None or not self._plateau(loss, report.cosine):
            return None
        return f"{HELD} By step {report.step} the loss has not fallen since SAM began (now {loss:.3g})."

    def _radius(self, report: StepReport) -> str | None:
        if self._sam.rho == 0 or report.radius is None:
            return None
        if report.radius == 0:
            why = "the direction of its ascent examples was zero or not finite"
        elif report.radius < FAR_BELOW * self._sam.rho:
            why = "the weights' type is too coarse for so small a step"
        else:
            return None
        return (
            f"SAM was inactive at step {report.step}: of rho={self._sam.rho:g} only {report.radius:.3g} "
            f"reached the weights, because {why}."
        )
