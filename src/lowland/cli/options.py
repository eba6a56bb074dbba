"""Options of several commands, most of them made from settings: name, default and help stand there."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal

from lowland.cli.parser import Pairs, Reader, number, numbers, pair, seed_list, setting_and_value, texts
from lowland.config.data import CustomData, DataSettings
from lowland.config.experiment import MODEL_DEFAULTS, SEEDS, RunConfig
from lowland.config.outcomes import OutcomeSettings
from lowland.families.settings import FamilySettings
from lowland.sam.config import SAMConfig
from lowland.settings import described, kinds_of
from lowland.train.settings import TrainSettings

TRACKERS = ("tensorboard", "wandb", "trackio")


def add_settings(
    group: argparse._ActionsContainer,
    kind: type[Any],
    section: str = "",
    *,
    only: Collection[str] = (),
    others: Mapping[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
) -> None:
    """Adds an option for every described field of a settings class, or for some of them.

    Help shows the default, one of `others` in brackets, and `more` about it.
    """
    kinds, defaults = kinds_of(kind), {item.name: item.default for item in fields(kind)}
    for name, said in described(kind).items():
        if only and name not in only:
            continue
        default = said.unset or _shown(defaults[name])
        if others and name in others:
            default += f" [{_shown(others[name])}]"
        default += (more or {}).get(name, "")
        how = _reading(kinds[name])
        text = f"{said.help}{how.pop('keys', '')}" + (f" (default: {default})" if default else "")
        if said.metavar and "metavar" in how:
            how["metavar"] = said.metavar
        names = (said.option or name.replace("_", "-")).split()
        dest = f"{section}.{name}" if section else name
        group.add_argument(
            *(f"--{option}" for option in names), dest=dest, help=text.replace("%", "%%"), **how
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
            return {"action": "extend", "type": texts if str in inner else numbers, "metavar": "NAMES"}
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


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Adds the names of tasks."""
    text = "tasks and mixtures, by name; see `lowland tasks`"
    parser.add_argument_group("tasks").add_argument("data.tasks", nargs="*", metavar="TASK", help=text)


def add_own_data(parser: argparse.ArgumentParser, *, train: bool = True) -> None:
    """Adds a user's own files and how their rows become texts."""
    text = "Files in JSONL, JSON, CSV, TSV or Parquet, by their suffix; .gz is unpacked."
    only = [name for name in described(CustomData) if train or name not in ("train", "split")]
    add_settings(parser.add_argument_group("your own data", text), CustomData, "data.custom", only=only)


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
    text = "The same for all arms. In brackets: the default for the embedded model."
    train = parser.add_argument_group("training", text)
    embedded = MODEL_DEFAULTS["embedded"]["train"]
    own = {"steps": "; own data 10 epochs"}
    add_settings(train, TrainSettings, "train", others=embedded, more=own)
    add(train, "--epochs", "X", "passes over the training examples, in place of --steps", number)
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
    add(group, "--tracker", "NAME", f"{tracker} (default: none)", choices=TRACKERS)
