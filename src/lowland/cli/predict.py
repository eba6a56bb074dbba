"""`lowland predict`: apply a model to new rows."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from rich.progress import Progress

from lowland.cli.console import errors, note, quiet_libraries
from lowland.cli.generation import add_generation, check_model, generation_of, load_for_generation
from lowland.cli.options import add, add_settings
from lowland.config.data import DataSettings
from lowland.errors import UserError
from lowland.files import write_atomic

HELP = "apply a model to new rows of a file"
USAGE = "--model DIR --input FILE [--option ...]"
DESCRIPTION = """\
Applies a model to every row of a file, and adds a field with its prediction.
Inputs are formatted as in training; a model that lowland did not train needs
--template or --task."""
EPILOG = """\
examples:
  lowland predict --model runs/my-run/model --input new.csv --output done.csv
  lowland predict --model DIR --input new.jsonl --template "review: {text}"
"""
COMMON = (
    *("input", "template", "task", "output", "field", "model", "data.hub"),
    *("generation.batch_size", "generation.precision"),
    *("generation.input_length", "generation.target_length"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    rows = parser.add_argument_group("rows")
    add(rows, "--input", "FILE", "rows in JSONL, JSON, CSV, TSV or Parquet", required=True)
    template = 'the input text, such as "review: {text}" (default: as in the training)'
    add(rows, "--template", "TEMPLATE", template)
    add(rows, "--task", "NAME", "write rows as this task does (default: that of the training)")
    output = "file to write: .jsonl or .csv (default: standard output, as JSONL)"
    add(rows, "--output", "FILE", output)
    add(rows, "--field", "NAME", "name of the new field (default: prediction)")
    model = parser.add_argument_group("model")
    add(model, "--model", "DIR", "directory of the model, or embedded", required=True)
    add_settings(model, DataSettings, "data", only=("hub",))
    add_generation(model)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from lowland.runs.predict import OUTPUT_SUFFIXES, InputWriter, predict, read_usage, to_lines

    source = Path(arguments.input).expanduser()
    output = Path(arguments.output).expanduser() if "output" in arguments else None
    field = getattr(arguments, "field", "prediction")
    if output is not None:
        if output.suffix.lower() not in OUTPUT_SUFFIXES:
            raise UserError(f"--output {output} must end in {' or '.join(OUTPUT_SUFFIXES)}.")
        if output.is_dir() or not output.absolute().parent.is_dir():
            raise UserError(f"--output {output} must be a file in a directory that exists.")
        if output.exists() and output.samefile(source):
            raise UserError("--output and --input name the same file. Give another output.")
    if "template" in arguments and "task" in arguments:
        raise UserError("--template and --task both say how inputs are written. Give one of them.")
    generation = generation_of(arguments)
    quiet_libraries()
    usage = read_usage(check_model(arguments))
    writer = InputWriter(
        arguments.model, usage, getattr(arguments, "template", None), getattr(arguments, "task", None)
    )
    rows = writer.read(source)
    if any(field in row.row for row in rows):
        raise UserError(f"{source} has a field {field!r} already. Name the new one with --field NAME.")

    family, bf16 = load_for_generation(arguments, usage, generation.precision)
    input_length, target_length = writer.lengths()
    length, most = family.lengths(
        generation.input_length or input_length, generation.target_length or target_length
    )
    cut: list[int] = []
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as display:
        bar = display.add_task("predicting", total=sum(len(row.inputs) for row in rows))
        predictions = predict(
            family,
            rows,
            lambda done: display.advance(bar, done),
            input_length=length,
            target_length=most,
            batch_size=generation.batch_size,
            bf16=bf16,
            on_cut=cut.append,
            labels=usage.labels if usage is not None else (),
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
