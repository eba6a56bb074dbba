"""How the verbs that apply a finished model load it and let it write."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lowland.cli.console import note
from lowland.cli.family_options import add_family
from lowland.cli.options import PRECISION, PRECISION_HELP
from lowland.cli.parser import whole
from lowland.errors import UserError

if TYPE_CHECKING:
    from lowland.families.base import Family
    from lowland.runs.usage import Usage


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How a finished model is applied.

    Attributes:
        batch_size: Inputs at a time.
        precision: As in training.
        input_length: Most tokens of an input; `None` for that of the training or the task.
        target_length: Most tokens that are written; `None` likewise.
    """

    batch_size: int = 64
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    input_length: int | None = None
    target_length: int | None = None


def add_generation(group: argparse._ArgumentGroup) -> None:
    """Adds how a finished model is applied."""
    group.add_argument("--batch-size", type=whole, metavar="N", help="inputs at a time (default: 64)")
    group.add_argument("--precision", type=PRECISION, metavar="NAME", help=PRECISION_HELP)
    for name, what in (("input", "of an input"), ("target", "that are written")):
        group.add_argument(
            f"--{name}-length",
            type=whole,
            metavar="N",
            help=f"most tokens {what} (default: as in the training, else the task's)",
        )
    add_family(group)


def generation_settings(arguments: argparse.Namespace) -> Generation:
    """Takes the options of `add_generation`.

    Raises:
        UserError: If a number is too small.
    """
    names = [field.name for field in fields(Generation)]
    given = {name: value for name, value in vars(arguments).items() if name in names}
    for name, least in (("batch_size", 1), ("input_length", 2), ("target_length", 2)):
        if given.get(name, least) < least:
            raise UserError(f"--{name.replace('_', '-')}: must be at least {least}, not {given[name]}.")
    return Generation(**given)


def check_model(arguments: argparse.Namespace) -> Path:
    """Returns the directory that `--model` names, whether or not it holds a model.

    Raises:
        UserError: If there is none, and the name can be no other model's.
    """
    directory = Path(arguments.model).expanduser()
    if not (directory.is_dir() or arguments.model == "embedded" or getattr(arguments, "data.hub", False)):
        raise UserError(
            f"--model: {arguments.model} is no directory. Give that of a model (DIR/model of an experiment), "
            "or embedded, or a name on the hub with --hub."
        )
    return directory


def load_for_generation(arguments: argparse.Namespace, usage: Usage | None) -> tuple[Family, bool]:
    """Loads the model that the arguments name, on the accelerator where there is one.

    Args:
        arguments: The verb's arguments.
        usage: How the model was trained, which holds where the arguments say nothing else.

    Returns:
        The model, and whether it computes under bf16 autocast.

    Raises:
        UserError: If the model cannot be loaded.
    """
    from accelerate import PartialState

    from lowland.config.layers import build_section
    from lowland.families.recognise import load_family
    from lowland.families.settings import FamilySettings
    from lowland.train import resolve_precision

    device = PartialState().device
    given = {
        name.removeprefix("family."): value
        for name, value in vars(arguments).items()
        if name.startswith("family.")
    }
    trained = usage.family if usage is not None else {}
    settings = build_section(FamilySettings, {**trained, **given}, "family.")
    family = load_family(arguments.model, settings, hub=getattr(arguments, "data.hub", False))
    for sentence in family.notes:
        note(sentence)
    family.loaded.model.to(device)
    return family, resolve_precision(generation_settings(arguments).precision, device) == "bf16"
