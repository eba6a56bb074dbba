"""How the options that were given become settings.

An option that is not given leaves no trace, so that what lies below it (a
file, a preset, the model's defaults) keeps its say.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.config.arms import nest
from lowland.config.experiment import ExperimentConfig
from lowland.config.layers import read_layer
from lowland.errors import UserError

if TYPE_CHECKING:
    from lowland.comparison.experiment import Experiment

TOP = (*(item.name for item in fields(ExperimentConfig)), "more_arms")


def given(arguments: argparse.Namespace, *sections: str) -> dict[str, Any]:
    """Collects the options of some sections that were given, nested."""
    return nest(
        {
            name: value
            for name, value in vars(arguments).items()
            if name.partition(".")[0] in sections and not (name == "data.tasks" and not value)
        }
    )


def experiments(arguments: argparse.Namespace, *, grid: bool = True) -> dict[str, Experiment]:
    """Checks settings and data of all experiments of a command: name -> experiment.

    There is one, without a name, unless a grid makes several.
    """
    from lowland.comparison.experiment import build_experiment
    from lowland.comparison.grid import experiments_of, with_grid
    from lowland.runs.examples import load_data

    axes = grid_of(arguments) if grid else {}
    for setting in axes:
        if getattr(arguments, setting, None) not in ([], None):
            raise UserError(f"{setting} is in the grid and given as an option too. Leave one of them out.")
    found = {}
    read = cache(load_data)  # values of a grid share their data
    for own in experiments_of(axes):
        chosen = argparse.Namespace(**{**vars(arguments), **own.shared})
        try:
            found[own.name] = build_experiment(
                layers(chosen),
                epochs=getattr(chosen, "epochs", None),
                arms=lambda config, points=own.arms: with_grid(config, points),  # type: ignore[misc]
                read=read,
            )
        except UserError as error:
            raise UserError(f"{own.name}: {error}" if own.name else str(error)) from None
    return found


def grid_of(arguments: argparse.Namespace) -> Mapping[str, Sequence[Any]]:
    """Reads the grid of the command line, or else of the file of settings, or of the preset."""
    from lowland.comparison.grid import add_axis, parse_grid
    from lowland.paper.recipes import read_recipe

    if "grid" in arguments:
        return parse_grid(arguments.grid)
    listed: Any = read_layer(Path(arguments.config)).get("grid", {}) if "config" in arguments else {}
    if not isinstance(listed, Mapping) or not all(isinstance(values, list) for values in listed.values()):
        raise UserError(f"{arguments.config}: [grid] must hold a list of values for each setting.")
    if not listed and "preset" in arguments:
        listed = read_recipe(arguments.preset).grid
    axes: dict[str, tuple[Any, ...]] = {}
    for name, values in listed.items():
        add_axis(axes, name, values)
    return axes


def layers(arguments: argparse.Namespace) -> list[Mapping[str, Any]]:
    """Gives the layers of settings, from the least to the most particular."""
    from lowland.paper.recipes import expand, read_preset

    own = given(arguments, *TOP)
    tasks, custom = (own.get("data", {}).get(name) for name in ("tasks", "custom"))
    found: list[Mapping[str, Any]] = []
    if "preset" in arguments:
        found.append(read_preset(arguments.preset, tasks))
    if "config" in arguments:
        found.append(expand(read_layer(Path(arguments.config)), tasks))
    names = {"train": "--train", "evaluation": "--test", "input": "--input", "target": "--target"}
    for key, option in names.items() if custom is not None and not found else ():
        if key not in custom and not (key == "evaluation" and "split" in custom):
            raise UserError(
                "Your own data needs --train, --test (or --split 0.2, for a part of the same file), --input "
                f"and --target; {option} is missing."
            )
    return [*found, own]
