"""Grids: settings with several values each. Every combination becomes an arm.

A setting that all arms of an experiment must share (its data, its steps) makes several experiments instead.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowland.config.arms import Changes, is_fixed, parse_value
from lowland.config.experiment import ExperimentConfig
from lowland.config.options import settings_by_option
from lowland.errors import UserError, unknown_name

SETTINGS: Mapping[str, str] = {
    option: setting
    for option, setting in settings_by_option(ExperimentConfig).items()
    if re.match(r"(sam|data|train)\.\w+$", setting)
} | {"task": "data.tasks", "model": "model", "preset": "preset"}
"""The name of an option -> the setting."""

SHORT: Mapping[str, str] = {setting: short for short, setting in SETTINGS.items()}


@dataclass(frozen=True, kw_only=True)
class GridExperiment:
    """An experiment of a grid: what all its arms share, and what each changes; one alone has no name."""

    name: str
    shared: Changes
    arms: Mapping[str, Changes]


def parse_grid(words: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Reads words such as `sam.rho=0.02,0.05`; an option's name, such as `rho`, stands for its setting."""
    axes: dict[str, tuple[Any, ...]] = {}
    for word in words:
        name, _, listed = word.partition("=")
        add_axis(axes, name, [parse_value(value) for value in listed.split(",") if value])
    return axes


def add_axis(axes: dict[str, tuple[Any, ...]], name: str, values: Sequence[Any]) -> None:
    """Adds a setting and its values to a grid."""
    setting = SETTINGS.get(name, name)
    known = [*SETTINGS, *SETTINGS.values()]
    if setting not in SHORT and not re.fullmatch(r"(data|train|family|lora)(\.\w+)+", setting):
        raise unknown_name("setting of a grid", name, known)
    if not values:
        raise UserError(f"--grid {name}: there is no value. Write {name}=VALUE,VALUE.")
    if setting in axes:
        raise UserError(f"--grid {name} is given twice. Write all its values in one place.")
    axes[setting] = tuple({repr(value): value for value in values}.values())


def experiments_of(axes: Mapping[str, Sequence[Any]]) -> list[GridExperiment]:
    """Takes a grid apart into experiments, each with its arms; the last setting runs fastest."""
    shared = {name: values for name, values in axes.items() if is_fixed(name) or name == "preset"}
    own = {name: values for name, values in axes.items() if name not in shared}
    arms = dict(zip(_names(own, "="), _points(own), strict=True)) if own else {}
    return [
        GridExperiment(
            name=name,
            # `glue/rte+glue/sst2` is two tasks.
            shared={key: str(one).split("+") if key == "data.tasks" else one for key, one in point.items()},
            arms=arms,
        )
        for name, point in zip(_names(shared, "-"), _points(shared), strict=True)
    ]


def with_grid(config: ExperimentConfig, points: Mapping[str, Changes]) -> ExperimentConfig:
    """Makes an arm of every point of a grid and every arm but the reference, which stays as it is."""
    if not points:
        return config
    others = [arm for arm in config.arms if arm != config.reference]
    arms: dict[str, Changes] = {config.reference: config.arms[config.reference]}
    for arm in others:
        for name, changes in points.items():
            arms[name if len(others) == 1 else f"{arm}_{name}"] = {**config.arms[arm], **changes}
    try:
        return replace(config, arms=arms)
    except ValueError as error:
        raise UserError(str(error)) from None


def _points(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _names(axes: Mapping[str, Sequence[Any]], sign: str) -> list[str]:
    """Names points by what differs between them, such as `rho=0.05_m=2`, fit for a directory."""
    varied = [name for name in axes if len(axes[name]) > 1] or list(axes)
    names = [
        "_".join(f"{SHORT.get(name, name)}{sign}{_word(name, point[name])}" for name in varied)
        for point in _points(axes)
    ]
    # Two models may have the same last part of their paths.
    return [name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names, 1)]


def _word(setting: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    text = Path(text).name if setting == "model" else text
    return re.sub(r"[^\w.]+", "-", text).strip(".")[:40] or "value"
