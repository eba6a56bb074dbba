"""How the options that were given become settings.

An option that is not given leaves no trace, so that what lies below it (a
file, a preset, the model's defaults) keeps its say.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.errors import UserError

if TYPE_CHECKING:
    from lowland.config.experiment import ExperimentConfig


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Collects the options that were given into nested settings."""
    settings: dict[str, Any] = {}
    for name, value in vars(arguments).items():
        *sections, key = name.split(".")
        if (not sections and key not in ("model", "seeds", "arms", "more_arms", "lora", "merge")) or (
            name == "data.tasks" and not value
        ):
            continue
        place = settings
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    custom = settings.get("data", {}).get("custom")
    if custom is not None and "preset" not in arguments and "config" not in arguments:
        options = {"train": "--train", "evaluation": "--test", "input": "--input", "target": "--target"}
        if "split" in custom:
            del options["evaluation"]
        missing = [option for key, option in options.items() if key not in custom]
        if missing:
            raise UserError(
                "Your own data needs --train, --test (or --split 0.2, for a part of the same file), --input "
                f"and --target; {missing[0]} is missing."
            )
    return settings


def build(arguments: argparse.Namespace) -> ExperimentConfig:
    """Builds the configuration, shrunk where a rehearsal is asked for."""
    from lowland.config.experiment import build_config

    return scaled(build_config(*layers(arguments)), arguments)


def scaled(config: ExperimentConfig, arguments: argparse.Namespace) -> ExperimentConfig:
    """Shrinks a configuration by --scale, all but what other options set."""
    from lowland.config.scale import scale

    return scale(config, getattr(arguments, "scale", 1.0), keep=list(vars(arguments)))


def layers(arguments: argparse.Namespace) -> list[Mapping[str, Any]]:
    """Gives the layers of settings, from the least to the most particular."""
    from lowland.config.layers import read_layer
    from lowland.paper.recipes import expand, read_preset

    given = settings_of(arguments)
    tasks = given.get("data", {}).get("tasks")
    found: list[Mapping[str, Any]] = []
    if "preset" in arguments:
        found.append(read_preset(arguments.preset, tasks))
    if "config" in arguments:
        found.append(expand(read_layer(Path(arguments.config)), tasks))
    return [*found, given]
