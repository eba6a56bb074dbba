"""`lowland pretrain`: a small model from plain text, by span corruption."""

from __future__ import annotations

import argparse
from pathlib import Path

from lowland.cli.generated import add_settings
from lowland.errors import UserError

HELP = "make a small model from plain text, if there is no checkpoint"
USAGE = "FILE ... [--option ...]"
DESCRIPTION = """\
Pre-trains a model of T5.1.1's shape from random weights, or a checkpoint
further (--model), by T5's span corruption, on plain text files (.txt or .gz;
blank lines separate documents). It makes small models for tests, demos and
domains without a checkpoint. Where there is a checkpoint for your language and
domain, fine-tune that one. The model is left in DIR/model, which --model takes."""
EPILOG = """\
examples:
  lowland pretrain notes.txt --steps 2000 --pieces 4000
  lowland pretrain notes.txt --model embedded --steps 500
"""
COMMON = (
    *("files", "out", "model", "pretrain.pieces", "pretrain.d_model", "pretrain.d_ff", "pretrain.heads"),
    *("pretrain.encoder_layers", "pretrain.decoder_layers", "pretrain.input_length", "pretrain.steps"),
    *("pretrain.batch_size", "pretrain.learning_rate", "pretrain.rho", "pretrain.seed"),
)
INTERRUPTED = "interrupted. The same command resumes where it stopped."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    from lowland.pretraining.settings import PretrainSettings

    parser.add_argument("files", nargs="*", metavar="FILE", help="text files")
    group = parser.add_argument_group("options")
    group.add_argument("--out", metavar="DIR", help="directory of the run (default: runs/pretrain-...)")
    group.add_argument(
        "--model", metavar="DIR", help="start from a T5 checkpoint, with its shape and vocabulary"
    )
    add_settings(group, PretrainSettings, "pretrain")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    from lowland.cli.console import console, quiet_libraries
    from lowland.cli.trouble import disk_error
    from lowland.config.layers import build_section
    from lowland.pretraining.run import pretrain
    from lowland.pretraining.settings import SHAPE, PretrainSettings
    from lowland.train import TrainingError

    if not getattr(arguments, "files", []):
        raise UserError("Give text files to pre-train on. See lowland pretrain --help.")
    given = {
        name.removeprefix("pretrain."): value
        for name, value in vars(arguments).items()
        if name.startswith("pretrain.")
    }
    if "model" in arguments and (settled := [name for name in SHAPE if name in given]):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in settled)
        raise UserError(f"--model gives shape and vocabulary: leave out {options}.")
    settings = build_section(PretrainSettings, given)
    files = [Path(file) for file in arguments.files]
    path = Path(arguments.out) if "out" in arguments else None
    quiet_libraries()

    def say(sentence: str) -> None:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    try:
        model = pretrain(settings, files, path, say, model=getattr(arguments, "model", None))
    except TrainingError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise disk_error(error, path or Path("runs")) from None
    say(f"Model: {model} (--model takes it, and so does from_pretrained)")
    return 0
