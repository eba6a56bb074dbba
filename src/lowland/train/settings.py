"""The settings of training: what decides a run besides its data, model and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lowland.settings import check, setting

OptimizerName: TypeAlias = Literal["adafactor", "adamw"]
ScheduleName: TypeAlias = Literal["constant", "linear", "cosine"]
EmbeddingNoiseName: TypeAlias = Literal["none", "r3f", "smart", "freelb"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16"]
NonFinite: TypeAlias = Literal["stop", "skip"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a model is trained, SAM apart; each field says what it is.

    Source:
        Section 4 of the paper and T5's fine-tuning settings: AdaFactor, constant 1e-3, batch 128.
    """

    steps: int = setting(1000, "training steps", least=1)
    batch_size: int = setting(128, "examples per step", least=1)
    micro_batch_size: int | None = setting(
        None, "examples per forward pass; less memory", least=1, unset="the whole batch"
    )
    gradient_checkpointing: bool = setting(
        False,
        "keep only the inputs of each layer and compute the rest again; less memory, a third more time, the "
        "same gradients",
    )
    optimizer: OptimizerName = setting("adafactor", "adafactor, which has T5's settings, or adamw")
    learning_rate: float = setting(1e-3, "peak learning rate", above=0)
    schedule: ScheduleName = setting(
        "constant", "learning rate after the warm-up: constant, linear or cosine"
    )
    warmup_steps: int = setting(0, "steps in which the learning rate rises", least=0)
    weight_decay: float = setting(0.0, "weight decay of AdamW, on matrices only", least=0)
    gradient_clip: float = setting(0.0, "maximum norm of the gradient; 0 for none", least=0)
    dropout: float = setting(0.1, "dropout rate of the model", least=0, below=1)
    precision: Precision = setting(
        "auto",
        "fp32, bf16 (fp32 weights under bf16 autocast) or auto; auto takes bf16 where the machine computes "
        "it well",
    )
    label_smoothing: float = setting(
        0.0, "part of each target's probability that all classes or tokens share", least=0, below=1
    )
    embedding_noise: EmbeddingNoiseName = setting(
        "none",
        "r3f, smart or freelb: perturb the input's embeddings, for two or three times the passes",
        metavar="NAME",
    )
    embedding_weight: float = setting(1.0, "weight of the divergence of r3f and smart", least=0)
    ema: float = setting(
        0.0,
        "score and keep an exponential average of the weights, of this decay, such as 0.99; 0 for none",
        least=0,
        below=1,
    )
    average_last: float = setting(
        0.0, "score and keep the mean of the weights over this last fraction of the steps", least=0, most=1
    )
    z_loss: float = setting(1e-4, "weight of T5's log(Z)^2 in the loss", least=0)
    input_length: int | None = setting(
        None, "maximum tokens of an input; longer ones are cut", least=2, unset="the task's"
    )
    target_length: int | None = setting(
        None, "maximum tokens of a target; longer ones are cut", least=2, unset="the task's"
    )
    on_non_finite: NonFinite = setting(
        "stop",
        "where loss or gradient is not finite: stop, or skip the update and count it",
    )
    evaluate_every: int = setting(
        200, "steps between evaluations; the last step is always evaluated", least=1
    )
    log_every: int = setting(10, "steps between lines of the log", least=1)
    deterministic: bool = setting(
        False,
        "refuse nondeterministic operations, and keep an interrupted run's number of threads",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.ema and self.average_last:
            raise ValueError(f"Give either ema={self.ema:g} or average_last={self.average_last:g}, not both.")
