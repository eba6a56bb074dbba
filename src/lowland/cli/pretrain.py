"""`lowland pretrain`: a small model from plain text, by span corruption."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.cli.parser import number, one_of, whole, whole_or_fraction
from lowland.errors import UserError

if TYPE_CHECKING:  # torch is loaded when a run begins, not for --help
    from rich.console import Console

    from lowland.pretraining.run import TextReport
    from lowland.train import StepReport

HELP = "make a small model from plain text, for where there is no checkpoint"
USAGE = "FILE ... [--option ...]"
DESCRIPTION = """\
Pre-trains a model of T5.1.1's shape from random weights, or a checkpoint
further (--model), by T5's span corruption, on plain text files (.txt, .gz, .xz;
blank lines part documents).
It makes small models for tests, demos and domains without a checkpoint. Where
there is a checkpoint for your language and domain, fine-tune that one.
The model is left in DIR/model, which --model takes."""
EPILOG = """\
examples:
  lowland pretrain notes.txt --steps 2000 --pieces 4000
  lowland pretrain notes.txt --model embedded --steps 500
  lowland pretrain corpus/*.txt.xz --vocabulary ~/t5-small \\
    --d-model 512 --d-ff 1024
"""
INTERRUPTED = "interrupted. The same command goes on where it stopped."

NUMBERS: dict[str, tuple[tuple[str, str, Any, str], ...]] = {
    "vocabulary": (
        ("pieces", "pieces", whole, "size of the vocabulary that is trained (default: 8000)"),
        (
            "vocabulary-lines",
            "vocabulary_lines",
            whole,
            "most lines that it is trained on (default: 300000)",
        ),
    ),
    "shape": (
        ("d-model", "shape.d_model", whole, "width of the hidden states (default: 256)"),
        ("d-ff", "shape.d_ff", whole, "width inside a feed-forward layer (default: 640)"),
        ("d-kv", "shape.d_kv", whole, "width of an attention head (default: 64)"),
        ("heads", "shape.heads", whole, "attention heads (default: 4)"),
        ("encoder-layers", "shape.encoder_layers", whole, "layers of the encoder (default: 4)"),
        ("decoder-layers", "shape.decoder_layers", whole, "layers of the decoder (default: 2)"),
    ),
    "span corruption": (
        ("input-length", "input_length", whole, "tokens of an input (default: 128)"),
        ("noise-density", "noise_density", number, "share of the tokens that are cut out (default: 0.15)"),
        ("mean-noise-span", "mean_noise_span", number, "mean tokens of a span cut out (default: 3)"),
        (
            "validation-documents",
            "validation_documents",
            whole,
            "documents kept to validate on (default: 100)",
        ),
        ("validation-pieces", "validation_pieces", whole, "most pieces of them (default: 500)"),
    ),
    "training": (
        ("steps", "train.steps", whole, "optimizer steps (default: 5000)"),
        ("batch-size", "train.batch_size", whole, "pieces of a step (default: 64)"),
        ("micro-batch-size", "train.micro_batch_size", whole, "pieces of a forward pass (default: all)"),
        ("learning-rate", "train.learning_rate", number, "largest learning rate (default: 0.01)"),
        ("warmup-steps", "train.warmup_steps", whole, "steps in which it rises (default: 200)"),
        ("weight-decay", "train.weight_decay", number, "of AdamW and Muon (default: 0)"),
        ("gradient-clip", "train.gradient_clip", number, "largest norm of the gradient (default: 1)"),
        (
            "evaluate-every",
            "train.evaluate_every",
            whole,
            "steps between validations, at which the state is saved (default: 250)",
        ),
        ("log-every", "train.log_every", whole, "steps between lines of the log (default: 10)"),
        ("rho", "sam.rho", number, "radius of SAM's perturbation, with --arm sam (default: 0.15)"),
        (
            "ascent",
            "sam.ascent",
            whole_or_fraction,
            "fraction of the batch that SAM's ascent uses (default: 0.25)",
        ),
        ("seed", "seed", whole, "seed of everything (default: 0)"),
    ),
}
WORDS = (
    ("optimizer", "train.optimizer", ("adafactor", "adamw", "muon"), "adafactor, adamw or muon"),
    ("schedule", "train.schedule", ("constant", "linear", "cosine"), "constant, linear or cosine"),
    ("precision", "train.precision", ("auto", "fp32", "bf16"), "auto, fp32 or bf16"),
)
DEFAULTS = {"optimizer": "adafactor", "schedule": "cosine", "precision": "auto"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="text files")
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="go on from a T5 checkpoint, with its shape and vocabulary (default: random weights)",
    )
    for title, entries in NUMBERS.items():
        group = parser.add_argument_group(title)
        if title == "vocabulary":
            group.add_argument(
                "--vocabulary",
                metavar="DIR",
                help="take the tokenizer of a T5 model, or a spiece.model, instead of training one",
            )
            group.add_argument(
                "--fold-case",
                dest="setting.fold_case",
                action="store_true",
                help="train a vocabulary without capital letters",
            )
        for option, name, kind, text in entries:
            group.add_argument(
                f"--{option}",
                dest=f"setting.{name}",
                type=kind,
                metavar="X" if kind is number else "N",
                help=text,
            )
        if title == "training":
            for option, name, choices, text in WORDS:
                group.add_argument(
                    f"--{option}",
                    dest=f"setting.{name}",
                    type=one_of(*choices),
                    metavar="NAME",
                    help=f"{text} (default: {DEFAULTS[option]})",
                )
            group.add_argument(
                "--deterministic",
                dest="setting.train.deterministic",
                action="store_true",
                help="refuse operations that may give other bits each time, and keep an interrupted run's "
                "number of threads",
            )
            group.add_argument(
                "--arm",
                type=one_of("baseline", "sam"),
                metavar="NAME",
                help="with SAM or without (default: baseline)",
            )
    results = parser.add_argument_group("results")
    results.add_argument("--out", metavar="DIR", help="directory of the run (default: runs/pretrain-...)")
    results.add_argument(
        "--save-as",
        type=one_of("fp32", "bf16"),
        metavar="NAME",
        help="type of the final weights (default: fp32)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    import torch

    from lowland.cli.console import console, quiet_libraries
    from lowland.cli.disk import disk_error
    from lowland.config.layers import build_section, merge
    from lowland.pretraining.run import pretrain
    from lowland.pretraining.settings import PretrainSettings
    from lowland.train import TrainingError

    if not getattr(arguments, "files", []):
        raise UserError("Give text files to pre-train on. See lowland pretrain --help.")
    _refuse_shape_of_a_checkpoint(arguments)
    quiet_libraries()
    values: dict[str, Any] = {"train": PretrainSettings().to_dict()["train"]}
    for name, value in vars(arguments).items():
        if name.startswith("setting."):
            nested: Any = value
            for part in reversed(name.split(".")[1:]):
                nested = {part: nested}
            values = merge(values, nested)
    settings = build_section(PretrainSettings, values)
    arm: str = getattr(arguments, "arm", "baseline")
    start: str | None = getattr(arguments, "model", None)
    vocabulary = Path(arguments.vocabulary) if "vocabulary" in arguments else None
    dtype = torch.bfloat16 if getattr(arguments, "save_as", "fp32") == "bf16" else None
    files = [Path(file) for file in arguments.files]
    path = Path(arguments.out) if "out" in arguments else None
    try:
        model = pretrain(
            settings,
            files,
            path,
            PretrainProgress(console, settings.train.steps),
            arm=arm,
            vocabulary=vocabulary,
            model=start,
            dtype=dtype,
        )
    except TrainingError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise disk_error(error, path or Path("runs")) from None
    if model is not None:
        console.print(f"Model: {model} (--model takes it, and so does from_pretrained)", soft_wrap=True)
    return 0


def _refuse_shape_of_a_checkpoint(arguments: argparse.Namespace) -> None:
    """Refuses options that say what the checkpoint of --model has settled."""
    if "model" not in arguments:
        return
    settled = ["vocabulary"] if "vocabulary" in arguments else []
    names = {name: option for title in ("vocabulary", "shape") for option, name, *_ in NUMBERS[title]}
    names["fold_case"] = "fold-case"
    settled += [option for name, option in names.items() if f"setting.{name}" in arguments]
    if settled:
        raise UserError(
            f"--model gives shape and vocabulary: leave out {', '.join(f'--{name}' for name in settled)}."
        )


class PretrainProgress:
    """Says how a pre-training goes, a line at a time."""

    SECONDS = 30.0

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps = console, steps
        self._seconds, self._line_at = 0.0, 0.0
        self._counted = 0  # the steps that were taken before

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def on_note(self, sentence: str) -> None:
        """Prints it."""
        self._print(sentence)

    def on_text(self, report: TextReport) -> None:
        """Says what there is to train on."""
        self._print(
            f"Text: {report.documents:,} documents, {report.tokens:,} tokens; an epoch is {report.pieces:,} "
            f"pieces of {report.raw} tokens ({report.inputs} in, {report.targets} out).\n"
            f"Model: {report.parameters:,} parameters, {report.vocabulary:,} tokens."
        )

    def on_resume(self, step: int) -> None:
        """Says where it goes on."""
        self._counted = step
        self._print(f"Going on after step {step}.")

    def on_log(self, report: StepReport) -> None:
        """Prints a line now and then, with what is left by the steps so far."""
        self._seconds += report.seconds
        if time.monotonic() - self._line_at < self.SECONDS and report.step < self._steps:
            return
        self._line_at = time.monotonic()
        left = self._seconds / (report.step - self._counted) * (self._steps - report.step) / 60
        self._print(
            f"step {report.step} of {self._steps}: loss {report.loss_text}, about {left:.0f} min left"
        )

    def on_validation(self, step: int, loss: float) -> None:
        """Prints the loss."""
        self._print(f"step {step}: validation loss {loss:.4f} nats a target token")
