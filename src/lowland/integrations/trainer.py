"""SAM in Hugging Face's Trainer, and in whatever is derived from it.

The Trainer's own `training_step` runs once for each micro-batch, with all that it does besides: it generates,
counts, moves to the device, offloads. Only the loss that it asks for is computed later: when the last
micro-batch of an optimizer step asks for its own. Then one call of the gradient gets them all, since only the
whole batch tells which examples the ascent uses and what each micro-batch weighs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lowland.batches.batch import batch_size
from lowland.errors import UserError
from lowland.integrations.examples import Examples, Mixed, examples_of
from lowland.integrations.step import LaterLoss, LossOf, figures_aside
from lowland.sam import GradientInfo, PlateauWatch, SAMConfig, SAMGradient
from lowland.sam.plateau import HELD

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object

FIGURES = ("ascent_loss", "ascent_norm", "radius", "moved", "cosine")
"""What SAM adds to the Trainer's logs; see `lowland.GradientInfo`."""


class SAMTrainerMixin(_Trainer):
    """Adds SAM to a Trainer class: `class MyTrainer(SAMTrainerMixin, Seq2SeqTrainer): pass`.

    Everything else is the Trainer's: its step, optimizer, clipping, schedule, callbacks, checkpoints. The
    batch of SAM is that of the optimizer step, over all its micro-batches and devices; the ascent examples
    are its first ones (on each device). `loss` in the logs is the loss at w_adv; `ascent_loss`,
    `ascent_norm`, `radius`, `moved` and `cosine` stand beside it, as means over the steps since the last log.

    Args:
        *args: The Trainer's own.
        sam: SAM's settings. They may also stand in the class: `sam = lowland.SAMConfig(rho=0.05)`.
        count: What the mean loss of a micro-batch is a mean of, from its inputs; for example the sum of the
            classes' weights. By default the targets as the Trainer counts them, else the examples.
        **kwargs: The Trainer's own.

    Raises:
        UserError: If the Trainer is set up in a way that SAM cannot work in.
    """

    sam: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        before = cls.__mro__[: cls.__mro__.index(SAMTrainerMixin)]
        if any(one.__module__.startswith("transformers.") for one in before):
            raise UserError(
                f"{cls.__name__} names SAMTrainerMixin after the Trainer, where it does nothing. "
                f"Put it first: class {cls.__name__}(SAMTrainerMixin, ...)."
            )

    def __init__(
        self,
        *args: Any,
        sam: SAMConfig | None = None,
        count: Callable[[Any], Tensor | float] | None = None,
        **kwargs: Any,
    ) -> None:
        sam = type(self).sam if sam is None else sam
        if not isinstance(sam, SAMConfig):
            raise UserError(
                f"{type(self).__name__} needs settings of SAM, such as sam=lowland.SAMConfig(rho=0.05), but "
                f"got {sam!r}."
            )
        super().__init__(*args, **kwargs)
        self.sam = sam
        self._sam_count = count
        self._sam_gradient: SAMGradient | None = None
        self._sam_micro_batches: list[Any] = []
        self._sam_figures: dict[str, list[float]] = {name: [] for name in FIGURES}
        self._refuse()

    def _refuse(self) -> None:
        """Refuses set-ups in which SAM could not work; the gradient itself refuses DeepSpeed and FSDP1."""
        args = self.args
        optim = getattr(args.optim, "value", args.optim)
        reasons = {
            f"SAM does not run under DataParallel, which this process would use for its {args.n_gpu} "
            "devices. Start one process a device with torchrun, or show it one device only.": args.n_gpu > 1,
            "SAM does not run with tensor, context or sequence parallelism.": any(
                getattr(self, name)() > 1
                for name in ("get_tp_size", "get_cp_size", "get_sp_size")
                if hasattr(self, name)
            ),
            f"SAM does not run with {optim=}, which steps inside the backward pass: it would "
            "step in the ascent. Use an optimizer that steps after the gradient.": any(
                word in optim for word in ("lomo", "layerwise")
            ),
        }
        for reason, holds in reasons.items():
            if holds:
                raise UserError(reason)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains; see the Trainer."""
        self._sam_micro_batches.clear()  # a run that a callback stopped half-way through a batch leaves some
        return super().train(*args, **kwargs)

    def sam_examples(self, inputs: Any) -> Any:
        """Tells what the examples of a micro-batch are, of which the ascent takes the first ones.

        Override it where a Trainer's batches are of a form that lowland does not know: return the inputs of
        `compute_loss` where each row is an example, else a `lowland.integrations.Examples` of them.
        """
        return examples_of(self, inputs)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        """Mixes the batches that the Trainer sorts by length: the ascent's share of them is a random one."""
        sampler: Any = super()._get_train_sampler(*args, **kwargs)
        if self.sam.rho and type(sampler).__name__ == "LengthGroupedSampler":
            return Mixed(sampler, sampler.batch_size * max(1, self.args.world_size))
        return sampler

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Runs the Trainer's own step; a batch's last one fills `.grad` and gives the mean loss, others 0."""
        try:
            with LaterLoss(self, self._take) as later:
                super().training_step(*args, **kwargs)
        except BaseException:
            self._sam_micro_batches.clear()  # the Trainer may begin anew, with smaller ones that fit
            raise
        if later.loss is None:
            raise later.error("never calls it")
        return later.loss

    def _take(self, model: nn.Module, inputs: Any, loss_of: LossOf) -> Tensor:
        """Keeps a micro-batch, and takes the gradient of all of them if it is the last of a batch."""
        self._sam_micro_batches.append(self._examples(inputs))
        if not self.accelerator.sync_gradients:
            return torch.zeros((), device=self.args.device)
        micro_batches, self._sam_micro_batches = self._sam_micro_batches, []
        gradient = self._sam_gradient
        if gradient is None or gradient.module is not model:
            gradient = SAMGradient(model, self.sam, count=self._weigh, scaler=self.accelerator.scaler)
            gradient.ascent_context = partial(figures_aside, self)
            # The optimizer inside of Accelerate's.
            gradient.optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
            self._sam_gradient = gradient
            size = sum(map(batch_size, micro_batches))
            share = gradient.ascent_size(size) / size if self.sam.direction == "ascent" else 0.0
            self._sam_plateau = PlateauWatch(share)
        gradient.at(self.state.global_step, max(self.state.max_steps, 1))
        early = {id(micro_batch) for micro_batch in micro_batches[:-1]}

        def mean_loss(micro_batch: Any) -> Tensor:
            # What a Trainer does at the end of a batch, it does with the last micro-batch only.
            self.accelerator.gradient_state._set_sync_gradients(id(micro_batch) not in early)
            inputs = _inputs(micro_batch)
            # A copy, since the Trainer takes the labels out when it smooths them.
            return cast(Tensor, loss_of(copy(inputs), self._targets(inputs)))

        with self._each_batch_its_own():
            info = gradient(mean_loss, micro_batches=micro_batches)
        self._note(info)
        return info.loss.to(self.args.device)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Logs; a log of training gets SAM's figures."""
        if "loss" in logs:
            seen = self._sam_figures
            logs = {**logs, **{name: math.fsum(seen[name]) / len(seen[name]) for name in seen if seen[name]}}
            self._sam_figures = {name: [] for name in FIGURES}
        super().log(logs, *args, **kwargs)

    def _note(self, info: GradientInfo) -> None:
        loss = info.loss if info.ascent_loss is None else info.ascent_loss
        if info.cosine is not None and self._sam_plateau(float(loss), info.cosine):
            warnings.warn(f"{HELD} The loss has not fallen since SAM began.", UserWarning, stacklevel=2)
        if self.args.logging_strategy == "no":
            return
        for name in FIGURES:
            figure = getattr(info, name)
            # An overflow under fp16 is a skipped step; its radius says so.
            if figure is not None and math.isfinite(value := float(figure)):
                self._sam_figures[name].append(value)

    def _examples(self, inputs: Any) -> Any:
        examples = self.sam_examples(inputs)
        try:
            batch_size(examples)
        except ValueError as error:
            raise UserError(
                f"SAM's ascent cannot tell the first examples of {type(self).__name__}'s batches. {error} "
                "Or give the class a method sam_examples(inputs) that returns "
                "lowland.integrations.Whole(inputs): the ascent then takes whole micro-batches."
            ) from error
        return examples

    def _weigh(self, micro_batch: Any) -> Tensor | float:
        """Tells what a micro-batch's mean loss is a mean of."""
        inputs = _inputs(micro_batch)
        if self._sam_count is not None:
            return self._sam_count(inputs)
        targets = self._targets(inputs)
        return torch.tensor(batch_size(micro_batch)) if targets is None else targets

    def _targets(self, inputs: Any) -> Tensor | None:
        """Counts the targets of a micro-batch by the Trainer's rule."""
        if not isinstance(inputs, Mapping):
            return None
        labels = inputs.get("shift_labels")
        if labels is None:
            labels = inputs.get("labels")
            if isinstance(labels, Tensor) and getattr(self, "_loss_shifts_labels", False):
                labels = labels[..., 1:]  # nothing predicts the first token
        return (labels != -100).sum() if isinstance(labels, Tensor) else None

    @contextmanager
    def _each_batch_its_own(self) -> Iterator[None]:
        """Makes `compute_loss` give a micro-batch's own mean, since the gradient weighs them itself."""
        kept = self.args.average_tokens_across_devices, self.current_gradient_accumulation_steps
        self.args.average_tokens_across_devices, self.current_gradient_accumulation_steps = False, 1
        try:
            yield
        finally:
            self.args.average_tokens_across_devices, self.current_gradient_accumulation_steps = kept
            self.accelerator.gradient_state._set_sync_gradients(True)


def _inputs(micro_batch: Any) -> Any:
    """Gives what `compute_loss` gets of a micro-batch or a part of it."""
    return micro_batch.inputs if isinstance(micro_batch, Examples) else micro_batch


def sam_trainer(trainer_class: type[Any]) -> type[Any]:
    """Makes a Trainer class with SAM of another: `sam_trainer(Seq2SeqTrainer)(model, args, sam=...)`."""
    from transformers import Trainer

    if not (isinstance(trainer_class, type) and issubclass(trainer_class, Trainer)):
        raise UserError(f"sam_trainer takes a subclass of transformers.Trainer, but got {trainer_class!r}.")
    return type(f"SAM{trainer_class.__name__}", (SAMTrainerMixin, trainer_class), {})
