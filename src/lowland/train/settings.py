"""The settings of training: what decides a run besides its data, model and seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

OptimizerName: TypeAlias = Literal["adafactor", "adamw", "muon"]
ScheduleName: TypeAlias = Literal["constant", "linear", "cosine"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16"]
Operations: TypeAlias = Literal["auto", "fast", "library"]
NonFinite: TypeAlias = Literal["stop", "skip"]


def _whole(name: str, value: object, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"Invalid {name}={value!r}. Must be a whole number >= {minimum}.")


def _number(name: str, value: object, minimum: float, *, above: bool = False) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not (value > minimum if above else value >= minimum):  # type: ignore[operator]
        raise ValueError(
            f"Invalid {name}={value!r}. Must be a finite number {'>' if above else '>='} {minimum:g}."
        )


def _choice(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"Invalid {name}={value!r}. Must be one of: {', '.join(known)}.")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a model is trained, SAM apart.

    Attributes:
        steps: Optimizer steps.
        batch_size: Examples of a step.
        micro_batch_size: Examples of a forward pass; `None` for the whole batch.
        gradient_checkpointing: Whether to keep only the inputs of each layer for the backward pass, and to
            compute the rest again: less memory, a third more time, the same gradients.
        optimizer: `adafactor` with T5's settings, `adamw`, or `muon` (with AdamW for embeddings and vectors).
        learning_rate: Peak learning rate.
        schedule: Of the learning rate after the warm-up.
        warmup_steps: Steps of linear warm-up.
        weight_decay: Of AdamW and Muon, on matrices only.
        gradient_clip: Largest global norm of the gradient; 0 does not clip.
        dropout: Dropout rate of the model.
        precision: `fp32`; `bf16` for fp32 weights under bf16 autocast; `auto` for bf16 where the machine
            computes it well.
        operations: `library` computes with the operations of transformers and torch, bit for bit; `fast` with
            cheaper ones that differ by rounding and draw other dropout masks; `auto` is `fast`.
        z_loss: Weight of T5's log(Z)^2 term in the training loss.
        input_length: Tokens of an input, EOS included; longer ones are cut. `None` for each task's own.
        target_length: Tokens of a target, EOS included; `None` for each task's own.
        on_non_finite: What happens where the loss or the gradient is not finite: `stop`, with the batch kept
            to be replayed, or `skip` the update and count it.
        evaluate_every: Steps between evaluations; the last step is always evaluated.
        log_every: Steps between lines of the training log.
        deterministic: Whether operations whose result depends on the order of threads are refused, and an
            interrupted run keeps its number of threads.

    Source:
        Section 4 of the paper and T5's fine-tuning settings: AdaFactor, constant 1e-3, batch 128.
    """

    steps: int = 1000
    batch_size: int = 128
    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False
    optimizer: OptimizerName = "adafactor"
    learning_rate: float = 1e-3
    schedule: ScheduleName = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    gradient_clip: float = 0.0
    dropout: float = 0.1
    precision: Precision = "auto"
    operations: Operations = "auto"
    z_loss: float = 1e-4
    input_length: int | None = None
    target_length: int | None = None
    on_non_finite: NonFinite = "stop"
    evaluate_every: int = 200
    log_every: int = 10
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every", "log_every"):
            _whole(name, getattr(self, name), 1)
        for name, minimum in (("input_length", 2), ("target_length", 2), ("micro_batch_size", 1)):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), minimum)
        _whole("warmup_steps", self.warmup_steps, 0)
        _number("learning_rate", self.learning_rate, 0.0, above=True)
        for name in ("weight_decay", "gradient_clip", "z_loss", "dropout"):
            _number(name, getattr(self, name), 0.0)
        if self.dropout >= 1:
            raise ValueError(f"Invalid dropout={self.dropout!r}. Must be in [0, 1).")
        _choice("optimizer", self.optimizer, get_args(OptimizerName))
        _choice("schedule", self.schedule, get_args(ScheduleName))
        _choice("precision", self.precision, get_args(Precision))
        _choice("on_non_finite", self.on_non_finite, get_args(NonFinite))
        _choice("operations", self.operations, get_args(Operations))
