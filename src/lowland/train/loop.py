"""The loop: gradient, clip, optimizer, schedule, `zero_grad`, for both arms alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel

from lowland.data import trim_padding
from lowland.sam import GradientInfo
from lowland.train.gradients import build_gradient
from lowland.train.loss import IGNORED, sequence_loss
from lowland.train.optimizers import build_optimizer, build_schedule
from lowland.train.settings import Arm, SAMSettings, TrainSettings


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which step and what to change."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What the log says of the steps since its last line.

    Attributes:
        step: The last step covered, from 1.
        loss: Mean training loss over the steps (at w_adv under SAM).
        learning_rate: Of the last step.
        gradient_norm: Global norm of the last step's gradient, before clipping.
        examples: Examples seen since the start.
        target_tokens: Real target tokens seen since the start.
        seconds: Time of the steps covered, evaluation left out.
        ascent_loss: Mean loss of the ascent examples at w; `None` in standard training.
        ascent_norm: Mean norm of the ascent gradient; `None` in standard training.
        radius: Mean measured radius; `None` in standard training.
        moved: Mean share of perturbed weights that changed at all; `None` in standard training.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    examples: int
    target_tokens: int
    seconds: float
    ascent_loss: float | None = None
    ascent_norm: float | None = None
    radius: float | None = None
    moved: float | None = None


def train(
    model: PreTrainedModel,
    batches: Iterator[dict[str, Tensor]],
    *,
    arm: Arm,
    settings: TrainSettings,
    sam: SAMSettings,
    accelerator: Accelerator,
    on_log: Callable[[StepReport], None],
    on_evaluation: Callable[[int], None],
) -> None:
    """Trains a model in place.

    Args:
        model: An encoder-decoder on the CPU or the accelerator's device.
        batches: Endless whole batches: `input_ids`, `attention_mask` `# (batch, input_len)` and `labels`
            `# (batch, target_len)`.
        arm: `standard` or `sam`: which gradient.
        settings: What both arms share.
        sam: What only the SAM arm uses.
        accelerator: Device, precision and processes.
        on_log: Called every `log_every` steps and at the last.
        on_evaluation: Called with the step every `evaluate_every` steps and at the last; the model is then
            between steps, in training mode.

    Raises:
        TrainingError: If the loss is not finite.
    """
    decoder_inputs = cast(Callable[[Tensor], Tensor], model.prepare_decoder_input_ids_from_labels)
    wrapped: nn.Module = accelerator.prepare_model(model)
    wrapped.train()
    optimizer = build_optimizer(model, settings)
    schedule = build_schedule(optimizer, settings)
    gradient = build_gradient(arm, wrapped, settings, sam)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def loss_fn(batch: dict[str, Tensor]) -> Tensor:
        return sequence_loss(wrapped, decoder_inputs, trim_padding(batch), settings.z_loss)

    infos: list[GradientInfo] = []
    examples = target_tokens = 0
    seconds = 0.0
    started = time.perf_counter()
    for step in range(1, settings.steps + 1):
        batch = next(batches)
        examples += len(batch["labels"])
        target_tokens += int((batch["labels"] != IGNORED).sum())
        rate = float(schedule.get_last_lr()[0])

        info = gradient(loss_fn, {name: tensor.to(accelerator.device) for name, tensor in batch.items()})
        norm = nn.utils.clip_grad_norm_(parameters, settings.gradient_clip or math.inf)
        if not math.isfinite(float(info.loss)) or not math.isfinite(float(norm)):
            raise TrainingError(
                f"At step {step} the loss is {float(info.loss):g} and the gradient's norm {float(norm):g}; "
                f"lower the learning rate (now {rate:g})" + (" or rho." if arm == "sam" else ".")
            )
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

        infos.append(info)
        last = step == settings.steps
        if last or step % settings.log_every == 0:
            elapsed = time.perf_counter() - started
            on_log(_report(infos, step, rate, float(norm), examples, target_tokens, elapsed + seconds))
            infos.clear()
            seconds, started = 0.0, time.perf_counter()
        if last or step % settings.evaluate_every == 0:
            seconds += time.perf_counter() - started
            on_evaluation(step)
            started = time.perf_counter()


def _report(
    infos: list[GradientInfo],
    step: int,
    rate: float,
    norm: float,
    examples: int,
    target_tokens: int,
    seconds: float,
) -> StepReport:
    def mean(values: list[float | Tensor | None]) -> float | None:
        known = [float(value) for value in values if value is not None]
        return sum(known) / len(known) if known else None

    return StepReport(
        step=step,
        loss=float(torch.stack([info.loss for info in infos]).mean()),
        learning_rate=rate,
        gradient_norm=norm,
        examples=examples,
        target_tokens=target_tokens,
        seconds=seconds,
        ascent_loss=mean([info.ascent_loss for info in infos]),
        ascent_norm=mean([info.ascent_norm for info in infos]),
        radius=mean([info.radius for info in infos if info.points]),
        moved=mean([info.moved for info in infos if info.points]),
    )
