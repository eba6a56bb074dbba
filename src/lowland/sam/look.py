"""LookSAM: between the steps of SAM, what was flat about the last one is added to the gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lowland.sam import preserve
from lowland.sam.parallel import local
from lowland.sam.parameters import Parameters
from lowland.sam.perturb import Perturbation, global_dot, global_norm, must_measure
from lowland.sam.remember import RememberingGradient
from lowland.sam.standard import GradientInfo, LossFunction


class LookSAMGradient(RememberingGradient):
    """SAM's gradient in the steps that are SAM's, and one that leans as SAM's last did in those between.

        sam = lowland.sam.LookSAMGradient(model, rho=0.15)
        for step, batch in enumerate(loader):
            sam.active = step % 5 == 0
            info = sam(loss_fn, batch)

    While `active`, the gradient g_s is that of `SAMGradient`, bit for bit. What of it is at right angles to
    the ascent gradient g is kept as a direction v. While not, the gradient is g + alpha ||g|| v, at the price
    of a standard step and of one addition: one pass, and one copy of the weights that is kept. All of it is
    over the weights that are perturbed. Before the first step of SAM, and after one that failed or that left
    the weights at w (rho = 0; a gradient that is zero or not finite), steps between are standard ones.

    The paper takes g on the whole batch (`ascent=1.0`). On a part of it, v holds besides what the weights'
    move changes also what the rest of the batch wants otherwise. The addition is as long as alpha says, even
    where SAM's own change was small, as at a small rho (docs/choosing.md has what came of it).

    Args:
        parameters: As in `SAMGradient`.
        alpha: How much of the direction is added, > 0.
        **options: As in `SAMGradient`, but for m > 1, ranks='own' and row_gradients=True. Weights whose
            gradients are sparse are left out of v.

    Source:
        Algorithm 1 of Liu et al. (2022), "Towards Efficient and Scalable Sharpness-Aware Minimization", arXiv
        2203.02714 (alpha 0.7, every fifth step), with one norm and angle over all parameters together. Their
        layer-wise scaling for large batches (Look-LayerSAM) is not in it.
    """

    def __init__(self, parameters: Parameters, *, alpha: float = 0.7, **options: Any) -> None:
        if isinstance(alpha, bool) or not (alpha > 0 and math.isfinite(alpha)):
            raise ValueError(f"Invalid {alpha=}. Must be a finite number > 0.")
        for name, plain in (("m", 1), ("ranks", "shared"), ("row_gradients", False)):
            if options.get(name, plain) != plain:
                raise ValueError(f"{name}={options[name]!r} does not go with LookSAM.")
        super().__init__(parameters, **options)
        self.alpha = alpha
        self._climbed: dict[Tensor, Tensor] = {}

    def __call__(
        self, loss_fn: LossFunction, batch: Any = None, *, micro_batches: Sequence[Any] | None = None
    ) -> GradientInfo:
        """Adds the gradient of the batch to every parameter's `.grad`.

        Args:
            loss_fn: As in `StandardGradient`. It sees the ascent examples only while `active`.
            batch: As in `StandardGradient`.
            micro_batches: As in `StandardGradient`.

        Returns:
            What was seen.
        """
        parameters = self.selection.perturbed()
        try:
            with preserve.gradients(parameters):
                info = super().__call__(loss_fn, batch, micro_batches=micro_batches)
                if self.active:
                    self._look(parameters)
                else:
                    self._lean(parameters)
        finally:
            self._climbed.clear()
        return info

    def _ascend(
        self, loss_fn: LossFunction, pieces: Sequence[Any]
    ) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        """Takes the ascent gradient, and keeps it."""
        self._past.clear()  # frees its memory; what follows puts another in its place
        loss, parameters, gradients = super()._ascend(loss_fn, pieces)
        # Perturbing may write to it, and the descent of DDP to its buckets, which it may be a view of.
        written_to = self.measure or self.adaptive or must_measure(parameters, self.rho)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if not gradient.is_sparse:
                kept = gradient.detach().clone() if written_to or self._replicas.wrapped else gradient
                self._climbed[parameter] = kept
        return loss, parameters, gradients

    def _done(self, done: Perturbation) -> None:
        if not done.taken:
            self._climbed.clear()
        super()._done(done)

    def _look(self, parameters: Sequence[Tensor]) -> None:
        """Keeps the direction of g_s less its part along g, made in the memory of g."""
        if not self._climbed:
            return
        known = [p for p in _not_sparse(parameters) if p.grad is not None or p in self._climbed]
        climbed = [self._climbed[p] if p in self._climbed else torch.zeros_like(p) for p in known]
        descended = [torch.zeros_like(p) if p.grad is None else p.grad for p in known]
        norm = global_norm(climbed)
        along = global_dot(climbed, descended) / norm / norm if norm > 0 else math.nan
        here = [local(gradient) for gradient in climbed]
        torch._foreach_mul_(here, -along)
        torch._foreach_add_(here, [local(gradient) for gradient in descended])
        length = global_norm(climbed)
        if length > 0 and math.isfinite(length):  # else there is no such direction
            torch._foreach_mul_(here, 1 / length)
            self._past = dict(zip(known, climbed, strict=True))

    def _lean(self, parameters: Sequence[Tensor]) -> None:
        """Adds the direction that is kept, as long as alpha times the gradient."""
        known = [p for p in _not_sparse(parameters) if p in self._past]
        length = self.alpha * global_norm([p.grad for p in known if p.grad is not None])
        for parameter in known:
            if parameter.grad is None:  # zero, which the direction need not be
                parameter.grad = torch.zeros_like(parameter)
        here, past = [local(p.grad) for p in known if p.grad is not None], [self._past[p] for p in known]
        if known:
            torch._foreach_add_(here, [local(direction) for direction in past], alpha=length)


def _not_sparse(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Lists the parameters but those whose gradient is sparse."""
    return [p for p in parameters if p.grad is None or not p.grad.is_sparse]
