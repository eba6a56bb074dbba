"""SAM without an ascent pass: the direction is made of the gradients of the steps before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from lowland.sam import preserve
from lowland.sam.parallel import local
from lowland.sam.parameters import Parameters
from lowland.sam.perturb import Perturbation, must_measure
from lowland.sam.remember import RememberingGradient
from lowland.sam.standard import GradientInfo, LossFunction, StandardGradient


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the direction d follows from the gradients g of the steps: d <- decay * d + sign * g."""

    decay: float
    sign: float


RULES = {
    "previous": Rule(decay=0.0, sign=1.0),
    # Forwards, against the gradients: the point that the momentum is about to run into.
    "momentum": Rule(decay=0.9, sign=-1.0),
}

OF_AN_ASCENT = (
    "ascent",
    "m",
    "descent",
    "ascent_dropout",
    "ascent_bf16",
    "ranks",
    "row_gradients",
    "scaler",
)
"""Options that say something of an ascent pass, or that need one."""


class PastSAMGradient(RememberingGradient):
    """The gradient at w + rho * d / ||d||, where d is known from the steps before: one pass a step.

    The first step, and one after a direction that was not finite, is a standard one.

    Args:
        parameters: As in `SAMGradient`.
        direction: `previous`: d is the gradient of the step before, as it was before clipping. `momentum`: d
            points where momentum of 0.9 over these gradients would move the weights.
        rho: Radius of the perturbation, >= 0.
        **options: `perturb`, `adaptive`, `swap`, `measure`, `micro_batch_size`, `count` and `backward`, as in
            `SAMGradient`.

    Raises:
        ValueError: Under a `GradScaler`, whose scale changes between the steps.

    Source:
        `previous`: S2-SAM, Ji et al. (2024), "A Single-Step, Sharpness-Aware Minimization is All You Need to
        Achieve Efficient and Accurate Sparse Training". `momentum`: MSAM, Becker, Altrock and Risse (2024),
        "Momentum-SAM", arXiv 2401.12033; their momentum is that of the optimizer.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        direction: Literal["previous", "momentum"] = "previous",
        rho: float = 0.15,
        **options: Any,
    ) -> None:
        if direction not in RULES:
            raise ValueError(f"Invalid {direction=}. Must be one of: {', '.join(RULES)}.")
        for name in OF_AN_ASCENT:
            if options.get(name) is not None:
                raise ValueError(f"{name}= does not go with {direction=}, which takes no ascent pass.")
        super().__init__(parameters, rho=rho, **options)
        self.direction = direction

    def __call__(
        self, loss_fn: LossFunction, batch: Any = None, *, micro_batches: Sequence[Any] | None = None
    ) -> GradientInfo:
        """Adds the gradient of the batch at w_adv to every parameter's `.grad`, and remembers it.

        Args:
            loss_fn: As in `StandardGradient`. It sees the batch only.
            batch: As in `StandardGradient`.
            micro_batches: As in `StandardGradient`.

        Returns:
            What was seen.
        """
        if not self.active:
            return super().__call__(loss_fn, batch, micro_batches=micro_batches)
        parameters = self.selection.perturbed()
        with preserve.gradients(parameters):
            step = super().__call__ if self._past else partial(StandardGradient.__call__, self)
            info = step(loss_fn, batch, micro_batches=micro_batches)
            self._remember(parameters)
        return info

    def _ascend(
        self, loss_fn: LossFunction, pieces: Sequence[Any]
    ) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        """Gives the direction that is known; no pass is taken."""
        known = [parameter for parameter in self.selection.perturbed() if parameter in self._past]
        directions = [self._past[parameter] for parameter in known]
        if not RULES[self.direction].decay:
            self._past.clear()  # frees their memory for the descent
        elif self.measure or self.adaptive or must_measure(known, self.rho):
            directions = [direction.clone() for direction in directions]  # they are written to
        return None, known, directions

    def _remember(self, parameters: Sequence[Tensor]) -> None:
        rule = RULES[self.direction]
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            past = self._past.get(parameter)
            if past is None:
                past = self._past[parameter] = gradient.detach().clone()
                local(past).mul_(rule.sign)
            else:
                local(past).mul_(rule.decay).add_(local(gradient), alpha=rule.sign)

    def _done(self, done: Perturbation) -> None:
        if not math.isfinite(done.norm):
            self._past.clear()
