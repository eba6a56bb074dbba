"""Rehearsals: an experiment made smaller in proportion."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError

LEAST_INTERVAL = 10
"""A rehearsal's steps between evaluations, at least: scoring and saving at every step would be most of it."""


def scale(config: ExperimentConfig, factor: float, keep: Collection[str] = ()) -> ExperimentConfig:
    """Shrinks an experiment without changing its shape.

    In proportion shrink: the steps, their warm-up, the interval between evaluations, the training
    examples of every task (and the cap on their rates), the examples of every evaluation set, and
    those held out. So the number of passes over the data, the number of evaluations and the mixture
    stay as they are, as far as whole numbers allow; nothing becomes less than 1, and the interval not
    less than `LEAST_INTERVAL`. The model, the arms,
    seeds, batch size, lengths, learning rate, dropout and all of SAM's settings stay, too.

    Args:
        config: The experiment.
        factor: In (0, 1].
        keep: Dotted names of settings that are not shrunk, such as `train.steps`.

    Returns:
        The smaller experiment; the work that is left is about `factor` times that of the whole.

    Raises:
        UserError: If the factor is not in (0, 1].
    """
    if not 0 < factor <= 1:
        raise UserError(f"Invalid scale={factor!r}. Must be in (0, 1].")
    if factor == 1:
        return config

    def whole(number: int) -> int:
        return max(1, round(number * factor)) if number else 0

    data, train = config.data, config.train
    limit, held_out = data.evaluation_limit, data.held_out
    smaller: dict[str, dict[str, Any]] = {
        "data": {
            "fraction": data.fraction * factor,
            "evaluation_limit": limit * factor if isinstance(limit, float) else whole(limit) or factor,
            "held_out": whole(held_out) if isinstance(held_out, int) else held_out,
            "held_out_limit": whole(data.held_out_limit),
            "cap": whole(data.cap) if data.cap is not None else None,
        },
        "train": {
            "steps": whole(train.steps),
            "warmup_steps": whole(train.warmup_steps),
            "evaluate_every": max(whole(train.evaluate_every), min(LEAST_INTERVAL, train.evaluate_every)),
        },
    }
    for section, values in smaller.items():
        for name in [name for name in values if f"{section}.{name}" in keep]:
            del values[name]
    return replace(config, data=replace(data, **smaller["data"]), train=replace(train, **smaller["train"]))
