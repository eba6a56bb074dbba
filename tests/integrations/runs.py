"""Runs of a Trainer on tiny models, and what they left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integrations.toys import (
    Rows,
    SAMTrainer,
    arguments,
    moves,
    rows,
    tiny,
    weights,
)
from torch import Tensor
from transformers import PreTrainedModel, Trainer

from lowland import SAMConfig, SAMTrainerMixin

# fp32 sums of a few hundred terms in another order, relative to the norm of what is compared.
ROUNDING = 1e-5


def trained(
    folder: Path,
    kind: str,
    trainer_class: type[Any] = SAMTrainer,
    *,
    sam: SAMConfig | None = None,
    dropout: float = 0.0,
    data: Rows | None = None,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> Trainer:
    """A Trainer that has trained a tiny model."""
    extra = dict(options or {})
    if issubclass(trainer_class, SAMTrainerMixin):
        extra["sam"] = SAMConfig() if sam is None else sam
    trainer: Trainer = trainer_class(
        model=tiny(kind, dropout).eval(),  # as from_pretrained leaves it, and as an evaluation does
        args=arguments(folder, **changes),
        train_dataset=rows(kind) if data is None else data,
        **extra,
    )
    trainer.train()
    return trainer


def model_of(trainer: Trainer) -> PreTrainedModel:
    """The model that a Trainer trains."""
    assert isinstance(trainer.model, PreTrainedModel)
    return trainer.model


def update(trainer: Trainer, kind: str) -> list[Tensor]:
    """How far training has taken the weights, parameter by parameter."""
    return moves(weights(model_of(trainer)), weights(tiny(kind)))


def logged(trainer: Trainer, name: str) -> list[float]:
    """What was logged under a name."""
    return [entry[name] for entry in trainer.state.log_history if name in entry]
