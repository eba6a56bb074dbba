"""The loop: gradient, clip, optimizer, schedule, `zero_grad`, for all arms alike."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel

from lowland.data import IGNORED
from lowland.errors import UserError
from lowland.methods.embeddings import EmbeddingNoise
from lowland.models.load import checkpoint_layers
from lowland.sam import SAMConfig, SAMGradient, StandardGradient
from lowland.train.average import Average
from lowland.train.log import StepReport, figures, seen
from lowland.train.optimizers import build_optimizer, build_schedule
from lowland.train.settings import TrainSettings
from lowland.train.state import load_state, save_state, stream_rows, under

AVERAGE = "average/"
"""Prefix of an average of the weights among the saved tensors."""

MOST_IN_A_ROW = 10
"""Updates left out one after another before training stops all the same: it will not recover."""


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which step and what to change."""


class Training:
    """The training of one model, which can be saved between any two steps.

    The model is on the accelerator's device and is trained in place, its weights in fp32. `batches` are
    endless whole batches with a `state_dict`; `loss` makes the model's loss, as `Family.loss` does.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        batches: Any,
        loss: Callable[..., Any],
        *,
        settings: TrainSettings,
        sam: SAMConfig,
        accelerator: Accelerator,
        bf16: bool = False,
    ) -> None:
        self.step = 0
        self.skipped: list[int] = []
        self._model = model
        self._batches = batches
        self._settings = settings
        self._sam = sam
        self._accelerator = accelerator
        if settings.gradient_checkpointing:
            checkpoint_layers(model)
        if settings.embedding_noise != "none" and accelerator.num_processes > 1:
            raise UserError("--embedding-noise runs in one process. Leave it out, or start only one.")
        self._loss = loss(
            accelerator.device,
            bf16=bf16,
            z_loss=settings.z_loss,
            label_smoothing=settings.label_smoothing,
            wrap=accelerator.prepare_model,
        )
        if settings.embedding_noise != "none":
            kind, weight = settings.embedding_noise, settings.embedding_weight
            self._loss = EmbeddingNoise(self._loss, self._loss.module, kind, weight=weight)
        self._optimizer = build_optimizer(model, settings)
        self._schedule = build_schedule(self._optimizer, settings)
        self._gradient = build_gradient(self._loss.module, settings, sam)
        if isinstance(self._gradient, SAMGradient):
            self._gradient.optimizer = self._optimizer
        self._average = Average(model, settings) if settings.ema or settings.average_last else None
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._examples = 0
        self._target_tokens = 0
        self._infos: list[dict[str, Any]] = []  # of the steps since the last line of the log
        self._seconds, self._started = 0.0, time.perf_counter()  # of these steps: before the clock's start
        self._evaluation_due = False

    def save(self, folder: Path, values: dict[str, Any]) -> None:
        """Writes the whole state of training to a new folder, with values of the caller's own.

        At a step with an evaluation it is to be called before the evaluation, which then comes first when
        training goes on. All processes must call it; the first one writes.
        """
        own = {
            "step": self.step,
            "examples": self._examples,
            "target_tokens": self._target_tokens,
            "batches": self._batches.state_dict(),
            "infos": self._infos,
            "skipped": self.skipped,
            "seconds": self._seconds + time.perf_counter() - self._started,
        }
        gather, device = self._accelerator.gather, self._accelerator.device
        streams = {name: gather(rows.to(device)).cpu() for name, rows in stream_rows().items()}
        if self._accelerator.is_main_process:
            both = {"training": own, "caller": values}
            past = self._gradient.state_dict()
            if self._average is not None:
                past |= {AVERAGE + name: mean for name, mean in self._average.state_dict().items()}
            save_state(folder, self._model, self._optimizer, self._schedule, both, streams, past)

    def load(self, folder: Path) -> dict[str, Any]:
        """Goes on from a saved state that `read_values` has checked; returns the caller's values."""
        process = self._accelerator.process_index
        values, past = load_state(folder, self._model, self._optimizer, self._schedule, process)
        if self._average is not None:
            self._average.load_state_dict(under(AVERAGE, past))
            past = {name: tensor for name, tensor in past.items() if not name.startswith(AVERAGE)}
        self._gradient.load_state_dict(past)
        own = values["training"]
        self._batches.load_state_dict(own["batches"])
        self.step = own["step"]
        self._examples, self._target_tokens = own["examples"], own["target_tokens"]
        self._infos = own["infos"]
        self.skipped = own["skipped"]
        self._seconds = own["seconds"]
        self._evaluation_due = self._is_evaluated()
        return dict(values["caller"])

    def run(
        self,
        on_log: Callable[[StepReport], None],
        on_evaluation: Callable[[int], None],
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Trains up to the last step; returns false where it was asked to stop before.

        Args:
            on_log: Called every `log_every` steps and at the last.
            on_evaluation: Called with the step every `evaluate_every` steps and at the last; also first of
                all where training goes on at such a step.
            stop: Asked after every step.
        """
        settings, sam = self._settings, isinstance(self._gradient, SAMGradient) and self._gradient
        # Dealt out like cards, so that the first examples of all processes are the first of the batch.
        share = slice(self._accelerator.process_index, None, self._accelerator.num_processes)
        self._loss.module.train()
        self._started = time.perf_counter()
        if self._evaluation_due:
            self._evaluate(on_evaluation)
        while self.step < settings.steps:
            next_line = min(settings.steps, (self.step // settings.log_every + 1) * settings.log_every)
            rate = float(self._schedule.get_last_lr()[0])
            batch = next(self._batches)
            self._examples += len(batch["labels"])
            self._target_tokens += int((batch["labels"] != IGNORED).sum())

            if sam:
                # What reaches the weights is measured where it is logged: it costs as much as moving them.
                sam.measure = next_line - self.step <= self._sam.every
                sam.at(self.step, settings.steps)
            info = self._gradient(self._loss, {name: column[share] for name, column in batch.items()})
            loss, norm = float(info.loss), clip(self._parameters, settings.gradient_clip)
            finite = math.isfinite(loss) and math.isfinite(norm)
            if finite:
                self._optimizer.step()
                self._infos.append(seen(info))
            else:
                self._skip_or_stop(batch, loss, norm, rate)
            self._schedule.step()
            self._optimizer.zero_grad()
            self.step += 1
            if self._average is not None:
                self._average.follow(self.step)

            if self.step == next_line:
                on_log(
                    StepReport(
                        step=self.step,
                        learning_rate=rate,
                        gradient_norm=norm if finite else None,
                        examples=self._examples,
                        target_tokens=self._target_tokens,
                        seconds=self._seconds + time.perf_counter() - self._started,
                        skipped=len(self.skipped),
                        **figures(self._infos),
                    )
                )
                self._infos.clear()
                self._seconds, self._started = 0.0, time.perf_counter()
            if self._is_evaluated():
                self._evaluate(on_evaluation)
            if self.step < settings.steps and stop():
                return False
        return True

    def averaged(self) -> AbstractContextManager[None]:
        """Puts the average of the weights, if one is kept, in their place for a block."""
        return nullcontext() if self._average is None else self._average.inserted()

    def _is_evaluated(self) -> bool:
        return self.step == self._settings.steps or self.step % self._settings.evaluate_every == 0

    def _evaluate(self, on_evaluation: Callable[[int], None]) -> None:
        """Evaluates with the clock of the training stopped."""
        self._seconds += time.perf_counter() - self._started
        self._started = time.perf_counter()
        on_evaluation(self.step)
        self._started = time.perf_counter()
        self._evaluation_due = False

    def _skip_or_stop(self, batch: Mapping[str, Tensor], loss: float, norm: float, rate: float) -> None:
        """Notes that the step's update is left out; stops where the settings say so, or the last were all."""
        step = self.step + 1
        self.skipped.append(step)
        hopeless = self.skipped[-MOST_IN_A_ROW:] == list(range(step + 1 - MOST_IN_A_ROW, step + 1))
        if self._settings.on_non_finite == "skip" and not hopeless:
            return
        other = " or rho" if self._sam.rho else ""
        what = f"lower the learning rate (now {rate:g}){other}, or clip the gradient."
        if (batch["labels"] == IGNORED).all():
            what = "its targets are all padding; leave such examples out."
        before = f", as in the {MOST_IN_A_ROW - 1} steps before" if hopeless else ""
        raise TrainingError(
            f"At step {step} the loss is {loss:g} and the gradient's norm {norm:g}{before}: {what}"
        )


def clip(parameters: Sequence[nn.Parameter], most: float) -> float:
    """Clips the gradient to a global norm, 0 for none; returns its norm before."""
    if most:
        return float(nn.utils.clip_grad_norm_(parameters, most))
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(nn.utils.get_total_norm(gradients))


def build_gradient(model: nn.Module, train: TrainSettings, sam: SAMConfig) -> StandardGradient:
    """Builds what fills `.grad` in the training loop: SAM, or at radius 0 the baseline's gradient."""
    if sam.rho == 0:
        return StandardGradient(model, micro_batch_size=train.micro_batch_size)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # the plan has said it
            return SAMGradient(model, sam, micro_batch_size=train.micro_batch_size)
    except ValueError as error:  # patterns that match nothing in this model
        raise UserError(str(error)) from None
