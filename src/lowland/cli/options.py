"""Options that several verbs share, most of them made from settings: name, default and help stand there."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal

from lowland.cli.parser import (
    Pairs,
    Reader,
    list_of,
    number,
    one_of,
    pair,
    seed_list,
    text_list,
    truth,
    whole,
)
from lowland.config.data import CustomData, DataSettings
from lowland.config.experiment import MODEL_DEFAULTS, SEEDS, RunConfig
from lowland.config.outcomes import OutcomeSettings
from lowland.families.settings import FamilySettings
from lowland.sam.config import SAMConfig
from lowland.settings import described, kinds_of
from lowland.train.settings import TrainSettings

TRAINING_ONLY = ("train", "split")
TRACKERS = ("tensorboard", "wandb", "trackio")


def add_settings(
    group: argparse._ActionsContainer,
    kind: type[Any],
    section: str = "",
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    others: Mapping[str, Any] | None = None,
    also: Mapping[str, str] = {},
) -> None:
    """Adds an option for every described field of a settings class.

    Args:
        group: Gets the options.
        kind: The class.
        section: Name of its section among the settings, such as `sam`.
        only: The fields that get an option; all where it is empty.
        without: Fields that get none.
        others: Other defaults, which help shows in brackets.
        also: Field -> another name of its option.
    """
    kinds, defaults = kinds_of(kind), {item.name: item.default for item in fields(kind)}
    for name, said in described(kind).items():
        if name in without or (only and name not in only):
            continue
        default = said.unset or _shown(defaults[name])
        if others and name in others:
            default += f" [{_shown(others[name])}]"
        how = _reading(kinds[name])
        if how.get("action") != "store_true":
            how["metavar"] = said.metavar or how["metavar"]
        names = [
            f"--{said.option or name.replace('_', '-')}",
            *([also[name]] if name in also else []),
        ]
        group.add_argument(
            *names,
            dest=f"{section}.{name}" if section else name,
            help=f"{said.help}{how.pop('keys', '')}".replace("%", "%%")
            + (f" (default: {default})" if default else ""),
            **how,
        )


def _reading(kinds: tuple[Any, ...]) -> dict[str, Any]:
    """Says how argparse reads a value of one of some types."""
    if bool in kinds:
        return {"action": "store_true"}
    origins = {typing.get_origin(kind) for kind in kinds}
    if Mapping in origins:
        return {"action": Pairs, "type": pair("NAME=FILE"), "metavar": "NAME=FILE"}
    section = next((kind for kind in kinds if is_dataclass(kind)), None)
    if isinstance(section, type):
        readers = {name: _reader(kinds_of(section)[name]) for name in described(section)}
        keys = ", ".join(f"{name} ({said.help})" for name, said in described(section).items())
        read = pair("KEY=VALUE", readers)
        return {"action": Pairs, "nargs": "*", "type": read, "metavar": "KEY=VALUE", "keys": f"; {keys}"}
    if origins & {tuple, Sequence}:
        return {"action": "extend", "type": _reader(kinds), "metavar": "NAMES"}
    metavar = "X" if float in kinds else "N" if int in kinds else "NAME" if _choices(kinds) else "TEXT"
    return {"type": _reader(kinds), "metavar": metavar}


def _reader(kinds: tuple[Any, ...]) -> Reader:
    """Gives what reads a value of one of some types."""
    if choices := _choices(kinds):
        return one_of(*choices)
    for kind in kinds:
        if typing.get_origin(kind) in (tuple, Sequence):
            return text_list if str in typing.get_args(kind) else list_of(number)
    readers: dict[Any, Reader] = {bool: truth, str: str, float: number, int: whole}
    return next(read for kind, read in readers.items() if kind in kinds)


def _choices(kinds: tuple[Any, ...]) -> tuple[str, ...]:
    return next((typing.get_args(kind) for kind in kinds if typing.get_origin(kind) is Literal), ())


def _shown(default: Any) -> str:
    if default in (None, MISSING):
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ",".join(map(_shown, default))
    return f"{default:g}" if isinstance(default, (int, float)) else repr(default)[1:-1]


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Adds the names of tasks."""
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument(
        "data.tasks", nargs="*", metavar="TASK", help="tasks and mixtures, by name; see `lowland tasks`"
    )


def add_own_data(parser: argparse.ArgumentParser, *, train: bool = True) -> None:
    """Adds a user's own files and how their rows become texts."""
    own = parser.add_argument_group(
        "your own data", "Files in JSONL, JSON, CSV, TSV or Parquet, by their suffix; .gz is unpacked."
    )
    without = () if train else TRAINING_ONLY
    add_settings(own, CustomData, "data.custom", without=without, also={"evaluation": "--eval"})


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Adds where the rows of registered tasks come from."""
    add_settings(parser.add_argument_group("data"), DataSettings, "data", only=("data_dir", "hub"))


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Adds the data, the model, and how it is trained."""
    add_tasks(parser)
    add_own_data(parser)
    add_settings(parser.add_argument_group("data"), DataSettings, "data")
    model = parser.add_argument_group("model")
    add_settings(model, RunConfig)
    add_settings(model, FamilySettings, "family")
    train = parser.add_argument_group(
        "training", "The same for all arms. In brackets: defaults of the embedded model."
    )
    epochs = "passes over the training examples, in place of --steps (default: 10 of own data)"
    add(train, "--epochs", "X", epochs, number)
    add_settings(train, TrainSettings, "train", others=MODEL_DEFAULTS["embedded"]["train"])
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
    add(group, "--config", "FILE", "settings in TOML, such as the experiment.toml of an experiment")
    plan = "only print what would be done; examples, tokens, memory, time, disk, devices"
    group.add_argument("--plan", action="store_true", help=plan)
    anyway = "start even if the plan needs more memory or disk than is free (default: off)"
    group.add_argument("--anyway", action="store_true", help=anyway)
    out = "directory of the results (default: one under runs/ named after the settings)"
    add(group, "--out", "DIR", out)
    runs = "folder where runs lie, each once; runs that are there are used (default: the folder called runs "
    add(group, "--runs", "DIR", f"{runs}that the results are in, or one beside them)")
    hub = "upload the model to this repository of the Hugging Face hub, such as me/reviews; private if new "
    add(group, "--push-to-hub", "NAME", f"{hub}(default: nothing is uploaded)")
    tracker = f"also log the curves of every run with {', '.join(TRACKERS)}, which must be installed"
    add(group, "--tracker", "NAME", f"{tracker} (default: none)", one_of(*TRACKERS))
