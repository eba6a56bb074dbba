"""Options that several verbs share, and how they become settings.

An option that is not given leaves no trace, so that what lies below it (a
file, a preset, the model's defaults) keeps its say.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowland.errors import UserError


def whole_or_fraction(text: str) -> int | float:
    """Reads `8` as a number of examples and `0.25` or `1.0` as a fraction."""
    try:
        return int(text)
    except ValueError:
        return float(text)


whole_or_fraction.__name__ = "number"


def seed_list(text: str) -> list[int]:
    """Reads `3` as the seeds 0, 1, 2 and `4,7` as these two."""
    if "," in text:
        return [int(part) for part in text.split(",") if part]
    return list(range(int(text)))


seed_list.__name__ = "number or list of seeds"


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds what there is to train and to be scored on."""
    parser.add_argument(
        "data.tasks", nargs="*", metavar="TASK", help="tasks and mixtures; see `lowland tasks`"
    )
    own = parser.add_argument_group("your own data", "files in JSONL, JSON, CSV or TSV, by their suffix")
    own.add_argument("--train", dest="data.custom.train", metavar="FILE", help="training rows")
    own.add_argument("--eval", dest="data.custom.evaluation", metavar="FILE", help="evaluation rows")
    own.add_argument(
        "--input", dest="data.custom.input", metavar="TEMPLATE", help='input text, such as "review: {text}"'
    )
    own.add_argument("--target", dest="data.custom.target", metavar="TEMPLATE", help='such as "{label}"')
    own.add_argument(
        "--metric",
        dest="data.custom.metrics",
        metavar="NAME",
        action="append",
        help="accuracy (default), f1, macro_f1, matthews, exact_match, qa, pearson, spearman; may be repeated",
    )
    own.add_argument(
        "--answers", dest="data.custom.answers", metavar="FIELD", help="field that holds all right answers"
    )
    own.add_argument(
        "--name", dest="data.custom.name", metavar="NAME", help="name in the report (default: custom)"
    )
    data = parser.add_argument_group("data")
    data.add_argument("--data-dir", dest="data.data_dir", metavar="DIR", help="directory with official files")
    data.add_argument(
        "--hub", dest="data.hub", action="store_true", help="allow fetching data and models from the hub"
    )
    data.add_argument(
        "--fraction",
        dest="data.fraction",
        type=float,
        metavar="X",
        help="of the training examples (default: 1)",
    )
    data.add_argument(
        "--held-out",
        dest="data.held_out",
        type=whole_or_fraction,
        metavar="X",
        help="training examples kept to choose checkpoints by: a fraction or a number a task; 0 for none "
        "(default: 0.1)",
    )
    data.add_argument(
        "--held-out-limit", dest="data.held_out_limit", type=int, metavar="N", help="at most (default: 200)"
    )
    data.add_argument(
        "--eval-limit",
        dest="data.evaluation_limit",
        type=int,
        metavar="N",
        help="score on the first N examples of each evaluation set; 0 for all (default: 0)",
    )


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Adds the model and how it is trained."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", dest="model", metavar="NAME", help="directory, hub name with --hub, or embedded (default)"
    )
    model.add_argument("--dropout", dest="train.dropout", type=float, metavar="X", help="(default: 0.1)")
    model.add_argument(
        "--input-length",
        dest="train.input_length",
        type=int,
        metavar="N",
        help="tokens (default: the task's)",
    )
    model.add_argument(
        "--target-length",
        dest="train.target_length",
        type=int,
        metavar="N",
        help="tokens (default: the task's)",
    )
    train = parser.add_argument_group(
        "training, the same for both arms", "defaults in brackets are those of the embedded model"
    )
    for option, kind, text in (
        ("steps", int, "optimizer steps (default: 1000 [400])"),
        ("batch-size", int, "examples of a step (default: 128 [32])"),
        ("micro-batch-size", int, "examples of a forward pass (default: the whole batch)"),
        ("learning-rate", float, "(default: 0.001 [0.005])"),
        ("warmup-steps", int, "(default: 0)"),
        ("weight-decay", float, "of AdamW (default: 0)"),
        ("gradient-clip", float, "largest norm of the gradient; 0 for none (default: 0)"),
        ("z-loss", float, "weight of log(Z)^2 in the loss (default: 0.0001)"),
        ("evaluate-every", int, "steps (default: 200 [100])"),
        ("log-every", int, "steps (default: 10)"),
    ):
        metavar = "N" if kind is int else "X"
        train.add_argument(
            f"--{option}", dest=f"train.{option.replace('-', '_')}", type=kind, metavar=metavar, help=text
        )
    train.add_argument(
        "--optimizer", dest="train.optimizer", choices=("adafactor", "adamw"), help="(default: adafactor)"
    )
    train.add_argument(
        "--schedule",
        dest="train.schedule",
        choices=("constant", "linear", "cosine"),
        help="(default: constant)",
    )
    train.add_argument(
        "--precision",
        dest="train.precision",
        choices=("auto", "fp32", "bf16"),
        help="bf16: fp32 weights under bf16 autocast; auto: bf16 where the machine does it well (default: auto)",
    )
    sam = parser.add_argument_group("SAM")
    sam.add_argument("--rho", dest="sam.rho", type=float, metavar="X", help="radius (default: 0.15)")
    sam.add_argument(
        "--ascent",
        dest="sam.ascent",
        type=whole_or_fraction,
        metavar="A",
        help="examples of the ascent: 0.25 of the batch, or a number (default: 0.25)",
    )
    sam.add_argument("--m", dest="sam.m", type=int, metavar="M", help="adversarial points (default: 1)")
    sam.add_argument(
        "--descent",
        dest="sam.descent",
        choices=("share", "full"),
        help="what each of m points descends on: its share of the batch or all of it (default: share)",
    )


def add_layer_options(parser: argparse.ArgumentParser) -> None:
    """Adds where settings come from and where results go."""
    group = parser.add_argument_group("settings and results")
    group.add_argument("--preset", metavar="NAME", help="settings that the package carries, such as demo")
    group.add_argument("--config", metavar="FILE", help="settings in TOML, such as an experiment.toml")
    group.add_argument("--out", metavar="DIR", help="directory of the experiment (default: under runs/)")


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Collects the options that were given into nested settings."""
    settings: dict[str, Any] = {}
    for name, value in vars(arguments).items():
        *sections, key = name.split(".")
        if (not sections and key not in ("model", "seeds", "arms")) or (name == "data.tasks" and not value):
            continue
        place = settings
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    custom = settings.get("data", {}).get("custom")
    if custom is not None:
        options = {"train": "--train", "evaluation": "--eval", "input": "--input", "target": "--target"}
        missing = [option for key, option in options.items() if key not in custom]
        if missing:
            raise UserError(
                f"Your own data needs --train, --eval, --input and --target; {missing[0]} is missing."
            )
    return settings


def layers(arguments: argparse.Namespace) -> list[Mapping[str, Any]]:
    """Gives the layers of settings, from the least to the most particular."""
    from lowland.experiment.configuration import read_layer, read_preset

    found: list[Mapping[str, Any]] = []
    if "preset" in arguments:
        found.append(read_preset(arguments.preset))
    if "config" in arguments:
        found.append(read_layer(Path(arguments.config)))
    return [*found, settings_of(arguments)]


def command_line(verb: str, argv: list[str]) -> str:
    """Writes the command that was given, so that it can be given again."""
    return shlex.join(["lowland", verb, *argv])
