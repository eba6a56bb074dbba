"""SAM in Hugging Face's Trainer, and in whatever is derived from it.

    class MyTrainer(lowland.SAMTrainerMixin, Seq2SeqTrainer):
        pass

    trainer = MyTrainer(model, args, train_dataset=dataset, sam=lowland.SAMConfig(rho=0.05))

One method of the Trainer is replaced, the one that fills `.grad`. The
micro-batches of an optimizer step are kept until the last one is there; then
one call of the gradient gets them all, since only the whole batch tells which
examples the ascent uses and what each micro-batch weighs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lowland.errors import UserError
from lowland.sam import GradientInfo, SAMConfig, SAMGradient, target_count

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object

FIGURES = ("ascent_loss", "ascent_norm", "radius", "moved")
"""What SAM adds to the Trainer's logs; see `lowland.GradientInfo`."""


class SAMTrainerMixin(_Trainer):
    """Adds SAM to a Trainer class: `class MyTrainer(SAMTrainerMixin, Seq2SeqTrainer): pass`.

    Everything else is the Trainer's: optimizer, clipping, schedule, callbacks, checkpoints. The batch of
    SAM is that of the optimizer step, over all its micro-batches and devices; the ascent examples are its
    first ones (on each device). `loss` in the logs is the loss at w_adv; `ascent_loss`, `ascent_norm`,
    `radius` and `moved` stand beside it, as means over the steps since the last log.

    Args:
        *args: The Trainer's own.
        sam: SAM's settings; `None` stands for the defaults.
        **kwargs: The Trainer's own.

    Raises:
        UserError: If the Trainer is set up in a way that SAM cannot work in.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        line = cls.__mro__
        if any(
            before.__module__.startswith("transformers.") for before in line[: line.index(SAMTrainerMixin)]
        ):
            raise UserError(
                f"{cls.__name__} names SAMTrainerMixin after the Trainer, where it does nothing. "
                f"Put it first: class {cls.__name__}(SAMTrainerMixin, ...)."
            )

    def __init__(self, *args: Any, sam: SAMConfig | None = None, **kwargs: Any) -> None:
        if sam is not None and not isinstance(sam, SAMConfig):
            raise UserError(f"The Trainer's sam= takes a lowland.SAMConfig, but got {type(sam).__name__}.")
        super().__init__(*args, **kwargs)
        self.sam = SAMConfig() if sam is None else sam
        self._gradient: SAMGradient | None = None
        self._micro_batches: list[Any] = []
        self._seen: dict[str, list[float]] = {name: [] for name in FIGURES}
        _refuse(self)
        _warn_of_lost_step(type(self))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains; see the Trainer."""
        self._micro_batches.clear()  # a run that a callback stopped half-way through a batch leaves some
        return super().train(*args, **kwargs)

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Keeps a micro-batch, or fills `.grad` from all of them if it is the last of an optimizer step.

        Args:
            model: The model, as the Trainer has wrapped it.
            inputs: The micro-batch.
            num_items_in_batch: Target tokens of the whole batch, if the Trainer hands them to the loss.

        Returns:
            The batch's mean loss at w_adv; 0 while micro-batches are being kept.
        """
        self._micro_batches.append(self._prepare_inputs(inputs))
        if not self.accelerator.sync_gradients:
            return torch.zeros((), device=self.args.device)
        micro_batches, self._micro_batches = self._micro_batches, []
        model.train()
        if callable(optimizer_train := getattr(self.optimizer, "train", None)):
            optimizer_train()
        if self._gradient is None or self._gradient.module is not model:
            self._gradient = SAMGradient(model, self.sam, count=self._count, scaler=self.accelerator.scaler)
        self._gradient.at(self.state.global_step, max(self.state.max_steps, 1))

        def mean_loss(micro_batch: Any) -> Tensor:
            items = None if num_items_in_batch is None else self._count(micro_batch)
            with self.compute_loss_context_manager():
                # A copy, since the Trainer takes the labels out when it smooths them.
                loss = self.compute_loss(model, copy(micro_batch), num_items_in_batch=items)
            return cast(Tensor, loss)

        with self._each_batch_its_own():
            info = self._gradient(mean_loss, micro_batches=micro_batches)
        self._note(info)
        return info.loss.to(self.args.device)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Logs; a log of training gets SAM's figures.

        Args:
            logs: The figures to log.
            *args: The Trainer's own.
            **kwargs: The Trainer's own.
        """
        if "loss" in logs:
            logs = {
                **logs,
                **{name: math.fsum(seen) / len(seen) for name, seen in self._seen.items() if seen},
            }
            self._seen = {name: [] for name in FIGURES}
        super().log(logs, *args, **kwargs)

    def _note(self, info: GradientInfo) -> None:
        if self.args.logging_strategy == "no":
            return
        for name in FIGURES:
            value = float(getattr(info, name))
            if math.isfinite(value):  # an overflow under fp16 is a skipped step; its radius says so
                self._seen[name].append(value)

    def _count(self, inputs: Mapping[str, Any]) -> Tensor:
        """Counts what a micro-batch's mean loss is a mean of, by the Trainer's rule."""
        labels = inputs.get("shift_labels")
        if labels is None:
            labels = inputs.get("labels")
            if isinstance(labels, Tensor) and getattr(self, "_loss_shifts_labels", False):
                labels = labels[..., 1:]  # nothing predicts the first token
        return (labels != -100).sum() if isinstance(labels, Tensor) else target_count(inputs)

    @contextmanager
    def _each_batch_its_own(self) -> Iterator[None]:
        """Makes `compute_loss` give a micro-batch's own mean, whatever normalisation it is written for.

        The gradient weighs micro-batches and devices itself. The Trainer would leave this to the model,
        and T5, which takes the number of items and ignores it, would give the sum of k means instead of
        one mean: k times the gradient, and once more the number of devices.
        """
        kept = self.args.average_tokens_across_devices, self.current_gradient_accumulation_steps
        self.args.average_tokens_across_devices, self.current_gradient_accumulation_steps = False, 1
        try:
            yield
        finally:
            self.args.average_tokens_across_devices, self.current_gradient_accumulation_steps = kept


def sam_trainer(trainer_class: type[Any]) -> type[Any]:
    """Makes a Trainer class with SAM of a Trainer class: `sam_trainer(Seq2SeqTrainer)(model, args, sam=...)`.

    Args:
        trainer_class: `transformers.Trainer` or a subclass.

    Returns:
        A subclass that takes `sam=` as well; see `SAMTrainerMixin`.

    Raises:
        UserError: If the class is no Trainer.
    """
    from transformers import Trainer

    if not (isinstance(trainer_class, type) and issubclass(trainer_class, Trainer)):
        raise UserError(f"sam_trainer takes a subclass of transformers.Trainer, but got {trainer_class!r}.")
    return type(f"SAM{trainer_class.__name__}", (SAMTrainerMixin, trainer_class), {})


def _refuse(trainer: _Trainer) -> None:
    """Refuses set-ups in which SAM could not work, or not be right."""
    args = trainer.args
    optim = getattr(args.optim, "value", args.optim)
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    reasons = {
        "SAM does not run under DeepSpeed, which keeps the weights out of reach between passes. Use DDP or "
        "FSDP2 (fsdp_config={'fsdp_version': 2}).": trainer.is_deepspeed_enabled,
        "SAM's radius would be wrong under FSDP1, whose flat parameters hide the shards. Use FSDP2: "
        "fsdp_config={'fsdp_version': 2}.": trainer.is_fsdp_enabled
        and getattr(plugin, "fsdp_version", 1) == 1,
        "SAM does not run under torch_xla's FSDP.": bool(trainer.is_fsdp_xla_enabled),
        f"SAM does not run under DataParallel, which this process would use for its {args.n_gpu} devices. "
        "Start one process a device with torchrun, or show it one device only.": args.n_gpu > 1,
        "SAM does not run with tensor, context or sequence parallelism.": any(
            getattr(trainer, name)() > 1
            for name in ("get_tp_size", "get_cp_size", "get_sp_size")
            if hasattr(trainer, name)
        ),
        f"SAM does not run with {optim=}, which steps inside the backward pass: it would "
        "step in the ascent. Use an optimizer that steps after the gradient.": any(
            word in optim for word in ("lomo", "layerwise")
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(reason)


def _warn_of_lost_step(trainer_class: type[Any]) -> None:
    """Warns if a class behind the mixin has a training_step of its own, which is not reached any more."""
    line = trainer_class.__mro__
    for behind in line[line.index(SAMTrainerMixin) + 1 :]:
        if behind.__module__.startswith("transformers."):
            return
        if "training_step" in vars(behind):
            warnings.warn(
                f"{behind.__name__} has a training_step of its own, which SAM replaces: what else it "
                "does there is left out. Put it into a class in front of SAMTrainerMixin to keep it.",
                stacklevel=3,
            )
            return
