"""Apply a model to new rows of a file.

usage: lowland predict --model DIR --input FILE [--option ...]

Applies a model to every row of a file, and adds a field with its prediction.
Inputs are formatted as in training; a model that lowland did not train needs
--template or --task.

Examples:
  lowland predict --model runs/my-run/model --input new.csv --output done.csv
  lowland predict --model DIR --input new.jsonl --template "review: {text}"
"""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from lowland.cli.console import errors, note, quiet_libraries
from lowland.cli.options import add, add_settings, given
from lowland.config.data import DataSettings
from lowland.config.layers import build_section
from lowland.errors import UserError
from lowland.families.settings import FamilySettings
from lowland.files import write_atomic
from lowland.settings import at_home, check, described, setting
from lowland.train.settings import Precision, TrainSettings

if TYPE_CHECKING:
    from lowland.families.base import Family
    from lowland.runs.predict import Usage

TRAINED = "as in training, else the task's"
COMMON = (
    *("input", "template", "task", "output", "field", "model", "data.hub"),
    *("generation.batch_size", "generation.precision"),
    *("generation.input_length", "generation.target_length"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    rows = parser.add_argument_group("rows")
    add(rows, "--input", "FILE", "rows in JSONL, JSON, CSV, TSV or Parquet", at_home, required=True)
    template = 'the input text, such as "review: {text}" (default: as in training)'
    add(rows, "--template", "TEMPLATE", template)
    add(rows, "--task", "NAME", "write rows as this task does (default: the task of the training)")
    file = "file to write: .jsonl or .csv (default: standard output, as JSONL)"
    add(rows, "--output", "FILE", file, at_home)
    add(rows, "--field", "NAME", "name of the new field (default: prediction)")
    model = parser.add_argument_group("model")
    add(model, "--model", "DIR", "directory of the model, or embedded", at_home, required=True)
    add_settings(model, DataSettings, "data", only=("hub",))
    add_generation(model)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from lowland.runs.predict import OUTPUT_SUFFIXES, InputWriter, predict, read_usage, to_lines

    source = Path(arguments.input)
    output = Path(arguments.output) if "output" in arguments else None
    field = getattr(arguments, "field", "prediction")
    if output is not None:
        if output.suffix.lower() not in OUTPUT_SUFFIXES:
            raise UserError(f"--output {output} must end in {' or '.join(OUTPUT_SUFFIXES)}.")
        if output.is_dir() or not output.absolute().parent.is_dir():
            raise UserError(f"--output {output} must be a file in a directory that exists.")
        if output.exists() and source.exists() and output.samefile(source):
            raise UserError("--output and --input name the same file. Give another output.")
    if "template" in arguments and "task" in arguments:
        raise UserError("--template and --task both say how inputs are written. Give one of them.")
    quiet_libraries()
    usage = read_usage(check_model(arguments))
    writer = InputWriter(
        arguments.model, usage, getattr(arguments, "template", None), getattr(arguments, "task", None)
    )
    rows = writer.read(source)
    if any(field in row.row for row in rows):
        raise UserError(f"{source} has a field {field!r} already. Name the new one with --field NAME.")

    family, how = load_for_generation(arguments, usage)
    inputs, targets = writer.lengths()
    length, most = family.lengths(how.pop("input_length") or inputs, how.pop("target_length") or targets)
    cut: list[int] = []
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as display:
        bar = display.add_task("predicting", total=sum(len(row.inputs) for row in rows))
        predictions = predict(
            family,
            rows,
            lambda done: display.advance(bar, done),
            input_length=length,
            target_length=most,
            on_cut=cut.append,
            labels=usage.labels if usage is not None else (),
            **how,
        )
    if cut:
        note(f"Warning: {sum(cut)} inputs are longer than {length} tokens and were cut.")
    text = to_lines(rows, predictions, field, output.suffix.lower() if output is not None else ".jsonl")
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # these are data, whatever the terminal can show
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        try:
            write_atomic(output, text.encode())
        except OSError as error:
            raise UserError(f"{output} cannot be written: {error.strerror or error}.") from None
        note(f"{len(rows)} rows: {output}")
    dropped = sum(prediction is None for prediction in predictions)
    if dropped:
        note(f"{dropped} of {len(rows)} rows are not complete and have no prediction.")
    return 0


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


def check_model(arguments: argparse.Namespace) -> Path:
    """Returns the directory that `--model` names; a model must be there unless another one has the name."""
    directory = Path(arguments.model)
    if (directory / "experiment.toml").is_file() and (directory / "model").is_dir():
        directory /= "model"
        arguments.model = str(directory)
        note(f"The model to use of this experiment is {directory}.")
    there = any((directory / file).is_file() for file in ("config.json", "adapter_config.json"))
    if not (there or arguments.model == "embedded" or getattr(arguments, "data.hub", False)):
        raise UserError(
            f"--model: {arguments.model} is no directory of a model. Give one (DIR/model of an experiment), "
            "or embedded, or a name on the hub with --hub."
        )
    return directory


def load_for_generation(arguments: argparse.Namespace, usage: Usage | None) -> tuple[Family, dict[str, Any]]:
    """Loads the model that the arguments name, and gives how it is applied: as in its training by default."""
    from accelerate import PartialState

    from lowland.families.recognise import load_family
    from lowland.train.machine import resolve_precision

    how = asdict(build_section(Generation, given(arguments, "generation").get("generation", {})))
    device = PartialState().device
    how["bf16"] = resolve_precision(how.pop("precision"), device) == "bf16"
    own = given(arguments, "family").get("family", {})
    settings = build_section(FamilySettings, {**(usage.family if usage else {}), **own}, "family.")
    family = load_family(arguments.model, settings, hub=getattr(arguments, "data.hub", False))
    for sentence in family.notes:
        note(sentence)
    family.loaded.model.to(device)
    return family, how
