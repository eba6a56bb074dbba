"""How the commands that apply a finished model load it and let it write."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowland.cli.console import note
from lowland.cli.options import add_settings
from lowland.cli.settings import given
from lowland.config.layers import build_section
from lowland.errors import UserError
from lowland.families.settings import FamilySettings
from lowland.settings import check, described, setting
from lowland.train.settings import Precision, TrainSettings

if TYPE_CHECKING:
    from lowland.families.base import Family
    from lowland.runs.predict import Usage

TRAINED = "as in the training, else the task's"


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How a finished model is applied."""

    batch_size: int = setting(64, "inputs at a time", least=1)
    precision: Precision = setting("auto", described(TrainSettings)["precision"].help)
    input_length: int | None = setting(None, "maximum tokens of an input", least=2, unset=TRAINED)
    target_length: int | None = setting(None, "maximum tokens to generate", least=2, unset=TRAINED)

    def __post_init__(self) -> None:
        check(self)


def add_generation(group: argparse._ArgumentGroup) -> None:
    """Adds how a finished model is applied."""
    add_settings(group, Generation, "generation")
    add_settings(group, FamilySettings, "family")


def generation_of(arguments: argparse.Namespace) -> Generation:
    """Takes the options of `add_generation`."""
    return build_section(Generation, given(arguments, "generation").get("generation", {}))


def check_model(arguments: argparse.Namespace) -> Path:
    """Returns the directory that `--model` names; it must be there unless another model has the name."""
    directory = Path(arguments.model).expanduser()
    if (directory / "experiment.toml").is_file() and (directory / "model").is_dir():
        directory /= "model"
        arguments.model = str(directory)
        note(f"The model to use of this experiment is {directory}.")
    if not (directory.is_dir() or arguments.model == "embedded" or getattr(arguments, "data.hub", False)):
        raise UserError(
            f"--model: {arguments.model} is no directory. Give that of a model (DIR/model of an experiment), "
            "or embedded, or a name on the hub with --hub."
        )
    return directory


def load_for_generation(
    arguments: argparse.Namespace, usage: Usage | None, precision: Precision
) -> tuple[Family, bool]:
    """Loads the model that the arguments name, as in its training where they say nothing else.

    Says, too, whether it computes under bf16 autocast.
    """
    from accelerate import PartialState

    from lowland.families.recognise import load_family
    from lowland.train.machine import resolve_precision

    device = PartialState().device
    trained = usage.family if usage is not None else {}
    own = given(arguments, "family").get("family", {})
    settings = build_section(FamilySettings, {**trained, **own}, "family.")
    family = load_family(arguments.model, settings, hub=getattr(arguments, "data.hub", False))
    for sentence in family.notes:
        note(sentence)
    family.loaded.model.to(device)
    return family, resolve_precision(precision, device) == "bf16"
