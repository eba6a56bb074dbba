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
    """Shrinks an experiment without changing its shape: passes over the data, evaluations and mixture stay.

    In proportion shrink steps, warm-up, the interval between evaluations (to `LEAST_INTERVAL` at least),
    training examples, the cap on rates, and the examples that are held out and scored; none below 1.

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
        smaller[section] = {name: value for name, value in values.items() if f"{section}.{name}" not in keep}
    return replace(config, data=replace(data, **smaller["data"]), train=replace(train, **smaller["train"]))
