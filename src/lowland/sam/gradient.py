"""SAM, Algorithm 1: the gradient of the loss at w_adv, the worst point within rho of w."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lowland.batches.batch import batch_size, target_count
from lowland.methods.chosen import Methods
from lowland.parameters import preserve
from lowland.parameters.preserve import Undo, undoing
from lowland.parameters.rows import by_rows, dense_tables
from lowland.parameters.selection import Parameters, Selection
from lowland.sam.ascent import ascent_size, points
from lowland.sam.config import SAMConfig
from lowland.sam.explain import Silence, explained, refuse_reentrant
from lowland.sam.info import GradientInfo, mean_info, point_info
from lowland.sam.measure import descent_cosine, must_measure
from lowland.sam.perturb import Perturbation, perturb
from lowland.sam.schedule import scheduled_rho
from lowland.sam.standard import LossFunction, StandardGradient, times


class SAMGradient(StandardGradient):
    """The gradient of Sharpness-Aware Minimization: that of the batch's loss at w_adv.

        sam = lowland.SAM(model, rho=0.15)
        info = sam(loss_fn, batch)  # instead of loss_fn(batch).backward()

    Args:
        parameters: As in `StandardGradient`; `optimizer.param_groups` stays up to date when groups are added.
        config: SAM's settings; `None` stands for the defaults.
        rho: The radius, instead of the configuration's.
        ascent: The fraction of the batch that the ascent uses, instead of the configuration's.
        micro_batch_size: As in `StandardGradient`.
        count: As in `StandardGradient`.
        scaler: As in `StandardGradient`. If the ascent overflows, `.grad` is made non-finite, so that the
            scaler skips the step and lowers its scale. Not for directions of the steps before.
        backward: As in `StandardGradient`.

    Attributes:
        rho: The radius of the next step; `at` sets it by the schedule.
        active: While false, the gradient is the baseline's, at the baseline's price; `at` sets it, too.
        optimizer: Where its second moments are read, for `precondition`.
        measure: Whether radius, share of moved weights and cosine are measured, at about the cost of moving
            the weights. A loop may measure only in the steps that it logs.
        ascent_context: A context manager that is opened around each ascent pass, so that a loss that counts
            something can leave the ascent out.

    Source:
        Algorithm 1 of Bahri, Mobahi and Tay (2022).
    """

    def __init__(
        self,
        parameters: Parameters,
        config: SAMConfig | None = None,
        *,
        rho: float | None = None,
        ascent: float | None = None,
        micro_batch_size: int | None = None,
        count: Callable[[Any], Tensor | int | float] = target_count,
        scaler: torch.amp.GradScaler | None = None,
        backward: Callable[..., None] | None = None,
    ) -> None:
        config = SAMConfig() if config is None else config
        if not isinstance(config, SAMConfig):
            raise ValueError(f"SAM takes a lowland.SAMConfig or nothing, but got {type(config).__name__}.")
        config = config if rho is None else replace(config, rho=rho)
        self.config = config if ascent is None else replace(config, ascent=ascent)
        if self.config.doubt:
            warnings.warn(self.config.doubt, UserWarning, stacklevel=2)
        super().__init__(
            parameters, micro_batch_size=micro_batch_size, count=count, scaler=scaler, backward=backward
        )
        self.methods = Methods(self.config, self.module, self._replicas, scaler)
        self.selection = Selection(self.selection.source, self.methods.perturb)
        if self.config.ranks == "own":
            self._replicas.refuse_own()
        self.optimizer: torch.optim.Optimizer | None = None
        self.rho = float(self.config.rho)
        self.active = True
        self.measure = True
        self.ascent_context: Callable[[], AbstractContextManager[object]] = nullcontext
        self._told = not (self.config.start or self.config.warmup or self.config.every > 1)
        self._silence = Silence()

    def at(self, step: int, steps: int) -> None:
        """Sets `rho` and `active` for the step that comes, counted from 0, by the schedule."""
        rho = scheduled_rho(self.config, step, steps)
        self.active = rho is not None
        self.rho = self.config.rho if rho is None else rho
        self._told = True

    def ascent_size(self, size: int) -> int:
        """Computes a, the number of ascent examples in a batch of `size` examples on this process."""
        return ascent_size(self.config, size, self._replicas.size)

    def __call__(
        self, loss_fn: LossFunction, batch: Any = None, *, micro_batches: Sequence[Any] | None = None
    ) -> GradientInfo:
        """Adds the SAM gradient of the batch to every parameter's `.grad`.

        Args:
            loss_fn: As in `StandardGradient`. It sees the ascent examples first, then the batch.
            batch: As in `StandardGradient`.
            micro_batches: As in `StandardGradient`; the ascent examples are the first of the whole batch.

        Returns:
            What was seen; means over the points where m > 1.
        """
        if not self._told:
            raise ValueError("SAM's schedule needs to know the step: call sam.at(step, steps) first.")
        if not self.active:
            return super().__call__(loss_fn, batch, micro_batches=micro_batches)
        self._replicas.reshard()
        self.selection.refuse_hooks()
        pieces = self._pieces(batch, micro_batches)
        infos: list[GradientInfo] = []
        undo = Undo()
        try:
            for examples, whole, share in points(self.config, pieces, self.count, self._replicas):
                if self.methods.logits is not None:
                    self._record(loss_fn, whole, share, undo)  # dL_B/dlogits at w
                ascent_loss, w, g = self._ascent(loss_fn, examples, undo)  # g_M = grad L_M(w)
                self.methods.shape(w, g, self.optimizer)
                alone = self.measure and all(parameter.grad is None for parameter in w)
                rho = self.methods.radius(self.rho)
                done = perturb(  # w_adv = w + rho * g_M / ||g_M||
                    w, g, rho, adaptive=self.config.adaptive, measure=self.measure, undo=undo
                )
                loss_there = partial(self._loss_at, loss_fn, examples)
                beside = self.methods.arrived(rho, ascent_loss, loss_there, done.taken, undo)
                if beside:
                    done = replace(done, radius=beside, moved=None, taken=True)
                loss = self._accumulate(loss_fn, whole, share)  # g_adv = grad L_B(w_adv), added to .grad
                cosine = descent_cosine(done.weights) if alone and done.taken else None
                self._after(done)
                undo()  # w, exactly
                done.weights.free()
                scale = self.scaler.get_scale() if self.scaler is not None else 1.0
                first = self.methods.past is not None and not w and not beside  # no direction is known yet
                infos.append(
                    point_info(times(loss, share), None if first else done, ascent_loss, cosine, scale)
                )
        except BaseException:
            self._replicas.abandon()
            raise
        finally:
            try:
                undo()
            except BaseException:  # an interrupt, while the weights are put back
                undo()
                raise
        if infos[-1].points and not beside:
            size = sum(batch_size(piece) for piece in pieces)
            self._silence(done, w, rho, self.ascent_size(size), size, self.scaler is not None)
        return mean_info(infos)

    def _ascent(
        self, loss_fn: LossFunction, examples: Sequence[Any], undo: Undo
    ) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        """Gives the loss of the ascent examples at w, the parameters with a gradient of it, and that."""
        perturbed = self.selection.perturbed()
        if (past := self.methods.past) is not None:
            preserve.found_gradients(perturbed, undo)
            written = self.measure or self.config.adaptive or self.config.precondition
            return None, *past.take(perturbed, written=written or must_measure(perturbed))
        # DDP and FSDP2 wait for the gradient of every parameter. Elsewhere those that are not perturbed,
        # or that SAM was not given, need none and keep what they have.
        touched = self.selection.trainable() if self._replicas.wrapped else perturbed
        options: dict[str, Any] = {} if self._replicas.group is not None else {"inputs": touched}
        preserve.gradients(touched, undo, copy=self._replicas.bucket_views)
        self._untraced(undo)
        if self.module is not None and not self._replicas.wrapped:
            undo.set_all(dense_tables(self.module), "sparse", True)
        graph: list[Any] = []  # of the last loss

        def remembered(piece: Any) -> Tensor:
            graph.clear()
            loss = loss_fn(piece)
            graph.append(getattr(loss, "grad_fn", None))
            return loss

        with self.ascent_context(), explained(sum(batch_size(piece) for piece in examples)):
            loss = self._accumulate(remembered, examples, together=self.config.ranks == "shared", **options)
        w = [parameter for parameter in perturbed if parameter.grad is not None]
        if options and len(w) < len(perturbed):
            refuse_reentrant(*graph)
        g = [by_rows(parameter.grad).resolve_conj() for parameter in w if parameter.grad is not None]
        undo()
        return loss, w, g

    def _record(self, loss_fn: LossFunction, pieces: Sequence[Any], share: float, undo: Undo) -> None:
        """Records the gradient of the logits at w, in a pass that stops there."""
        assert self.methods.logits is not None
        self._untraced(undo)
        recorded = self.methods.logits.record(loss_fn, undo)
        with self.ascent_context(), self._replicas.unsynchronised():
            self._accumulate(recorded, pieces, share, inputs=self.methods.logits.found)
        undo()

    def _untraced(self, undo: Undo) -> None:
        """Lets a pass leave random streams and buffers as they are, once `undo` is called."""
        preserve.random_streams({parameter.device for parameter in self.selection.trainable()}, undo)
        preserve.buffers(self.module, undo)

    def _loss_at(self, loss_fn: LossFunction, pieces: Sequence[Any]) -> float:
        """Computes the mean loss where the weights are, without a trace."""
        with undoing() as undo, torch.no_grad(), self.ascent_context():
            self._untraced(undo)
            return self._mean(loss_fn, pieces)

    def _after(self, done: Perturbation) -> None:
        """Passes on what the next step or the scaler must know, while `.grad` is as the descent left it."""
        finite = math.isfinite(done.norm)
        if (past := self.methods.past) is not None:
            if not finite:
                past.forget()
            past.remember(self.selection.perturbed())
        if self.scaler is not None and self.scaler.is_enabled() and self._replicas.sum(not finite):
            for parameter in self.selection.trainable():
                if parameter.grad is not None:
                    parameter.grad.mul_(math.inf)  # 0 becomes NaN, and the scaler skips the step

    def state_dict(self) -> dict[str, Tensor]:
        """Gives what the next step needs of the steps before; of most methods nothing."""
        memory = self.methods.memory
        return {} if memory is None else memory.state_dict(self.selection.named())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state_dict` gave; raises a `ValueError` if that is another gradient's."""
        if self.methods.memory is None:
            super().load_state_dict(state)
        else:
            self.methods.memory.load_state_dict(state, self.selection.named())


SAM = SAMGradient
