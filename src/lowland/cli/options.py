"""Options made from settings, and settings from the options that were given; others leave no trace."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lowland.cli.parser import Pairs, Reader, each_value, number, pair, seed_list, setting_and_value, texts
from lowland.config.arms import nest
from lowland.config.data import CustomData, DataSettings
from lowland.config.experiment import MODEL_DEFAULTS, SEEDS, ExperimentConfig, RunConfig
from lowland.config.layers import read_layer
from lowland.config.outcomes import OutcomeSettings
from lowland.errors import UserError
from lowland.families.settings import FamilySettings
from lowland.sam.config import SAMConfig
from lowland.settings import at_home, described, kinds_of
from lowland.train.settings import TrainSettings

if TYPE_CHECKING:
    from lowland.comparison.experiment import Experiment

SOURCES = ("data_dir", "hub")
TRACKERS = ("tensorboard", "wandb", "trackio")
TOP = (*(item.name for item in fields(ExperimentConfig)), "more_arms")


def add_settings(
    group: argparse._ActionsContainer,
    kind: type[Any],
    section: str = "",
    *,
    only: Collection[str] = (),
    more: Mapping[str, str] | None = None,
) -> None:
    """Adds an option for every described field of a settings class, or for `only` some, with `more` help."""
    kinds, defaults = kinds_of(kind), {item.name: item.default for item in fields(kind)}
    for name, said in described(kind).items():
        if only and name not in only:
            continue
        default = (said.unset or _shown(defaults[name])) + (more or {}).get(name, "")
        how = _reading(kinds[name])
        if said.path and how["type"] is str:
            how["type"] = at_home
        text = f"{said.help}{how.pop('keys', '')}" + (f" (default: {default})" if default else "")
        if said.metavar and "metavar" in how:
            how["metavar"] = said.metavar
        dest = f"{section}.{name}" if section else name
        group.add_argument(
            *(f"--{option}" for option in said.options(name)), dest=dest, help=text.replace("%", "%%"), **how
        )


def _reading(kinds: tuple[Any, ...]) -> dict[str, Any]:
    """Says how argparse reads a value of one of some types."""
    if bool in kinds:
        return {"action": "store_true"}
    for kind in kinds:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is Literal:
            return {"choices": inner, "metavar": "NAME"}
        if origin is Mapping:
            return {"action": Pairs, "type": pair, "metavar": "NAME=FILE"}
        if origin in (tuple, Sequence):
            return {"action": "extend", "type": texts if str in inner else each_value, "metavar": "NAMES"}
        if is_dataclass(kind) and isinstance(kind, type):
            keys = ", ".join(f"{name} ({said.help})" for name, said in described(kind).items())
            read = {"action": Pairs, "nargs": "*", "type": setting_and_value, "metavar": "KEY=VALUE"}
            return {**read, "keys": f"; {keys}"}
    if float in kinds:
        return {"type": number, "metavar": "X"}
    return {"type": int, "metavar": "N"} if int in kinds else {"type": str, "metavar": "TEXT"}


def _shown(default: Any) -> str:
    if default in (None, MISSING):
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ",".join(map(_shown, default))
    return f"{default:g}" if isinstance(default, (int, float)) else repr(default)[1:-1]


def add_data(parser: argparse.ArgumentParser, *, train: bool = True) -> None:
    """Adds tasks, and a user's own files with how their rows become texts; without training, for scoring."""
    text = "tasks and mixtures, by name; see `lowland tasks`"
    parser.add_argument_group("tasks").add_argument("data.tasks", nargs="*", metavar="TASK", help=text)
    text = "Files in JSONL, JSON, CSV, TSV or Parquet, by their suffix; .gz is unpacked."
    only = [name for name in described(CustomData) if train or name not in ("train", "split")]
    add_settings(parser.add_argument_group("your own data", text), CustomData, "data.custom", only=only)
    add_settings(parser.add_argument_group("data"), DataSettings, "data", only=() if train else SOURCES)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Adds the data, the model, and how it is trained."""
    add_data(parser)
    model = parser.add_argument_group("model")
    add_settings(model, RunConfig)
    add_settings(model, FamilySettings, "family")
    text = "The same for all arms. In brackets: the default for the embedded model."
    train = parser.add_argument_group("training", text)
    more = {name: f" [{_shown(value)}]" for name, value in MODEL_DEFAULTS["embedded"]["train"].items()}
    more["steps"] += "; own data 10 epochs"
    add_settings(train, TrainSettings, "train", more=more)
    text = "passes over the training examples, in place of --steps; own data get 10, but 100 steps at least"
    add(train, "--epochs", "X", text, number)
    add_settings(parser.add_argument_group("SAM"), SAMConfig, "sam")


def add(
    group: argparse._ActionsContainer, name: str, metavar: str, text: str, read: Reader = str, **more: Any
) -> None:
    """Adds an option with a value."""
    group.add_argument(name, metavar=metavar, type=read, help=text, **more)


def add_seeds(group: argparse._ArgumentGroup, default: str = str(SEEDS)) -> None:
    """Adds seeds."""
    text = "how many seeds (5 are 0 to 4), or which ones: 4,7 are two, and 1000, with a comma is one"
    add(group, "--seeds", "N", f"{text} (default: {default})", seed_list)


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """Adds what is measured, where settings come from and where results go."""
    outcomes = parser.add_argument_group("outcomes", "What is measured of finished runs beside the score.")
    add_settings(outcomes, OutcomeSettings, "outcomes")
    group = parser.add_argument_group("settings and results")
    preset = "named settings of the package, such as demo; see `lowland tasks --recipes`"
    add(group, "--preset", "NAME", f"{preset}; options given here override it")
    config = "settings in TOML, such as the experiment.toml of an experiment"
    add(group, "--config", "FILE", config, at_home)
    plan = "only print what would be done; examples, memory, time and disk"
    group.add_argument("--plan", action="store_true", help=plan)
    out = "directory of the results (default: one under runs/ named after the settings)"
    add(group, "--out", "DIR", out, at_home)
    runs = "folder where runs lie, each once; those that are there are used (default: runs/ at the results)"
    add(group, "--runs", "DIR", runs, at_home)
    hub = "upload the model to this repository of the Hugging Face hub, such as me/reviews; private if new"
    add(group, "--push-to-hub", "NAME", hub)
    tracker = f"also log the curves of every run with {' or '.join(TRACKERS)}, which must be installed"
    add(group, "--tracker", "NAME", tracker, choices=TRACKERS)


def given(arguments: argparse.Namespace, *sections: str) -> dict[str, Any]:
    """Collects the options of some sections that were given, nested."""
    said = {name: value for name, value in vars(arguments).items() if name.partition(".")[0] in sections}
    return nest({name: value for name, value in said.items() if not (name == "data.tasks" and not value)})


def experiments(arguments: argparse.Namespace, *, grid: bool = True) -> dict[str, Experiment]:
    """Checks settings and data: name -> experiment; one without a name unless a grid makes several."""
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
