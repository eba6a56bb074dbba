"""The settings of training: what decides a run besides its data, model and seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

OptimizerName: TypeAlias = Literal["adafactor", "adamw", "muon"]
ScheduleName: TypeAlias = Literal["constant", "linear", "cosine"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16"]
Operations: TypeAlias = Literal["auto", "fast", "library"]
NonFinite: TypeAlias = Literal["stop", "skip"]
Descent: TypeAlias = Literal["share", "full"]
Direction: TypeAlias = Literal["ascent", "previous", "momentum"]
Arm: TypeAlias = Literal["standard", "sam"]

ARMS: tuple[Arm, ...] = get_args(Arm)

LATER = {"adaptive": False, "ascent_dropout": True, "ascent_bf16": False, "look": 0.0}
"""SAM's settings that came later, with the defaults that they are left out at."""

MOST_RHO = 1000.0
"""A larger radius is a slip: it is more than the norm of all weights of a small model."""


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
class SAMSettings:
    """SAM's own settings; everything else is shared by both arms.

    Attributes:
        rho: Radius of the perturbation.
        ascent: Fraction of the batch (a float) or number of examples (an int) that the ascent uses.
        m: Number of adversarial points.
        descent: For m > 1, what each point descends on: its `share` of the batch, or the `full` batch.
        direction: Where the direction of the perturbation comes from: the `ascent` pass, or without any such
            pass the `previous` step's gradient or the `momentum` of all.
        start: Fraction of the steps after which SAM begins; until then, steps are standard ones.
        every: From there on every how many steps one is SAM's; the others are standard ones, but for `look`.
        look: How much of what was flat about SAM's last gradient the steps between add to theirs (LookSAM's
            alpha); 0 leaves them standard ones.
        adaptive: Whether each weight's part of the perturbation is measured by the weight's size (ASAM).
        ascent_dropout: Whether the ascent drops out as the descent does. If not, models other than T5 and mT5
            do not checkpoint in it.
        ascent_bf16: Whether the ascent is under bf16 autocast even where the precision is fp32.
        perturb: Patterns of the names of parameters that are perturbed, such as `*layer_norm*`; or all.

    Source:
        The paper's defaults: rho 0.15, a = b/4, m = 1.
    """

    rho: float = 0.15
    ascent: float | int = 0.25
    m: int = 1
    descent: Descent = "share"
    direction: Direction = "ascent"
    start: float = 0.0
    every: int = 1
    look: float = 0.0
    adaptive: bool = False
    ascent_dropout: bool = True
    ascent_bf16: bool = False
    perturb: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _number("rho", self.rho, 0.0)
        if self.rho > MOST_RHO:
            raise ValueError(
                f"Invalid rho={self.rho!r}. Must be at most {MOST_RHO:g}; 0.05 to 0.3 suit most models."
            )
        if isinstance(self.ascent, bool) or not (
            self.ascent >= 1 if isinstance(self.ascent, int) else 0 < self.ascent <= 1
        ):
            raise ValueError(
                f"Invalid ascent={self.ascent!r}. Must be a fraction in (0, 1], such as 0.25, or a whole "
                "number of examples >= 1."
            )
        _whole("m", self.m, 1)
        _choice("descent", self.descent, get_args(Descent))
        _choice("direction", self.direction, get_args(Direction))
        if not 0 <= self.start < 1:
            raise ValueError(f"Invalid start={self.start!r}. Must be in [0, 1).")
        _whole("every", self.every, 1)
        for name, plain in LATER.items():
            if isinstance(plain, bool) and not isinstance(getattr(self, name), bool):
                raise ValueError(f"Invalid {name}={getattr(self, name)!r}. Must be true or false.")
        if self.direction != "ascent" and (self.m > 1 or self.every > 1):
            raise ValueError(
                f"direction={self.direction!r} takes a step's direction from the one before, and does not go "
                "with m or every above 1."
            )
        _number("look", self.look, 0.0)
        if self.look and (self.every == 1 or self.m > 1):
            raise ValueError(
                f"Invalid look={self.look!r} with every={self.every!r} and m={self.m!r}. It is for the steps "
                "between those of SAM: give every >= 2, and m = 1."
            )
        for name in ("ascent_dropout", "ascent_bf16"):
            chosen = getattr(self, name)
            if self.direction != "ascent" and chosen != LATER[name]:
                raise ValueError(
                    f"direction={self.direction!r} takes no ascent, and needs no "
                    f"{name}={str(chosen).lower()}."
                )

    def active(self, step: int, steps: int) -> bool:
        """Says whether a step is SAM's.

        Args:
            step: From 0.
            steps: Of the whole training.
        """
        first = math.ceil(self.start * steps)
        return step >= first and (step - first) % self.every == 0


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a model is trained, in both arms.

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


def identity(plain: dict[str, Any]) -> dict[str, Any]:
    """Leaves out of nested plain settings what came later and has its default.

    So experiments and pre-trainings from before it are found, and go on.
    """
    for name, default in LATER.items():
        if plain["sam"][name] == default:
            del plain["sam"][name]
    return plain
