"""`lowland replay`: a step at which training stopped, computed again."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from rich.text import Text

from lowland.cli.console import console, make_table, note, quiet_libraries
from lowland.report.formats import plain

HELP = "compute the step again at which a run stopped"
USAGE = "DIR"
DESCRIPTION = """\
Computes the step again at which a run stopped because its loss or gradient was
not finite, from the weights, examples and random stream that were kept, and
says which examples and which layer it comes from."""
EPILOG = """\
examples:
  lowland replay runs/my-run
  lowland replay runs/my-run/sam-seed0/non-finite/step-120
"""

MOST_EXAMPLES = 5
WIDTH = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    group = parser.add_argument_group("step")
    group.add_argument("directory", metavar="DIR", help="directory of an experiment, a run or a kept step")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    from lowland.runs.replay import find_failure, replay

    quiet_libraries()
    folder = find_failure(Path(arguments.directory).expanduser())
    done = replay(folder)
    console.print(
        Text(
            f"Step {done.step} ({done.arm}): the loss is {done.loss:g}, the gradient's norm "
            f"{done.gradient_norm:g}"
            + (", as in the run." if done.same else ", but in the run they were ")
            + ("" if done.same else f"{done.recorded[0]:g} and {done.recorded[1]:g}.")
        ),
        soft_wrap=True,
    )
    if done.weights:
        more = f" and {len(done.weights) - 1} more" if len(done.weights) > 1 else ""
        console.print(Text(f"Weights that are not finite before the step: {done.weights[0]}{more}"))
    if done.module is not None:
        console.print(Text(f"The first layer whose output is not finite: {done.module}"))
    else:
        console.print(
            Text("At the weights before the step, without dropout, every layer's output is finite.")
        )
    if done.fp32_loss is not None:
        console.print(Text(f"In fp32 the loss is {done.fp32_loss:g} (without dropout)."))
    table = make_table("Examples with the largest loss", "Loss", "Input", "Target")
    for example in done.examples[:MOST_EXAMPLES]:
        texts = (
            textwrap.shorten(plain(t), WIDTH, placeholder=" ...") for t in (example.inputs, example.targets)
        )
        table.add_row(*map(Text, (f"{example.loss:.3g}", *texts)))
    console.print(table)
    note(f"The batch: {folder / 'batch.safetensors'}; the weights: {folder / 'weights.safetensors'}")
    return 0
