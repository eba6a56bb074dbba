"""`lowland doctor`: what this machine and this set-up can do, and what would go wrong."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import fields
from pathlib import Path

from rich.text import Text

from lowland.cli import options
from lowland.cli.console import console, errors, make_table, note, quiet_libraries
from lowland.cli.findings import Finding, show
from lowland.cli.parser import whole
from lowland.errors import UserError
from lowland.report.formats import plain

HELP = "say what this machine can do and what would go wrong"
USAGE = "[--option ...]"
DESCRIPTION = """\
Says what this machine and this set-up can do, and what would go wrong: what is
installed, cores and memory, whether the model loads as it was saved, what a
step costs with SAM and without, and which data sets are there.
Each line is ok, a note, or a problem. The exit code is 1 if there is a problem."""
MOST_EXAMPLES = 5
WIDTH = 60
EPILOG = """\
examples:
  lowland doctor
  lowland doctor --step runs/my-run    where a loss became not finite
  lowland doctor --model ~/t5-v1_1-base --data-dir ~/glue --batch-size 16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    group = parser.add_argument_group("what to look at")
    group.add_argument("--model", metavar="NAME", help="directory of a checkpoint (default: embedded)")
    options.add_sources(parser)
    group.add_argument(
        "--batch-size",
        type=whole,
        metavar="N",
        help="examples of a measured step (default: that of the training)",
    )
    group.add_argument(
        "--micro-batch-size",
        type=whole,
        metavar="N",
        help="examples of a forward pass (default: the whole batch)",
    )
    group.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="keep only the inputs of each layer and compute the rest again",
    )
    for name in ("input", "target"):
        group.add_argument(
            f"--{name}-length",
            type=whole,
            metavar="N",
            help=f"tokens of an example's {name} (default: those of a short question)",
        )
    group.add_argument(
        "--step",
        metavar="DIR",
        help="compute the step again at which a run stopped because loss or gradient was not finite, and say "
        "which examples and layer it comes from; the directory of an experiment, a run or a kept step",
    )
    group.add_argument("--no-timing", action="store_true", help="measure no steps")
    group.add_argument("--out", metavar="DIR", help="directory of results (default: runs)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    for option, least in (
        ("batch_size", 1),
        ("micro_batch_size", 1),
        ("input_length", 2),
        ("target_length", 2),
    ):
        value = getattr(arguments, option, None)
        if value is not None and value < least:
            raise UserError(f"--{option.replace('_', '-')}: must be at least {least}, not {value}.")
    if "step" in arguments:
        return compute_again(Path(arguments.step).expanduser())
    from lowland.cli import doctor_machine

    found = show("Installed", doctor_machine.packages())
    if not any(finding.level == "problem" for finding in found):
        # What follows imports the packages that were looked at.
        found += show("This machine", doctor_machine.machine())
        found += model_and_steps(arguments)
        folder = getattr(arguments, "data.data_dir", None)
        if folder is not None:
            from lowland.cli.doctor_data import data_sets

            with errors.status("reading the data"):
                found += show(
                    f"Official files in {folder}", list(data_sets(Path(folder).expanduser())), width=22
                )
    problems, notes = (sum(finding.level == level for finding in found) for level in ("problem", "note"))
    verdict = {0: "No problem", 1: "1 problem"}.get(problems, f"{problems} problems")
    console.print(Text(f"{verdict}, {notes} note{'' if notes == 1 else 's'}.", style="bold"))
    return 1 if problems else 0


def model_and_steps(arguments: argparse.Namespace) -> list[Finding]:
    """Looks at the model, what its training needs, and what a step costs."""
    from accelerate import PartialState

    from lowland.cli import doctor_machine, doctor_model
    from lowland.config.experiment import MODEL_DEFAULTS
    from lowland.families.recognise import family_defaults
    from lowland.train import TrainSettings

    quiet_libraries()
    name = getattr(arguments, "model", "embedded")
    hub = getattr(arguments, "data.hub", False)
    defaults = (MODEL_DEFAULTS.get(name) or family_defaults(name, {}, lora=False, hub=hub)).get("train", {})
    device = PartialState().device
    with errors.status("loading the model"):
        family, findings = doctor_model.load(name, hub, defaults.get("dropout", TrainSettings.dropout))
    found = show("Model", findings)
    if family is None:
        return found
    given = {
        field.name: getattr(arguments, field.name)
        for field in fields(TrainSettings)
        if field.name in arguments
    }
    settings = TrainSettings(**{**defaults, **given})
    memory = doctor_model.expected_memory(family, settings, device)
    result = None
    if "no_timing" not in arguments:
        with errors.status("measuring steps"):
            result = doctor_model.trial(family, settings, device)
    findings = list(doctor_model.memory_findings(memory, device, result))
    # Each of 3 seeds and 2 arms keeps up to two checkpoints, and the best model is kept once more.
    needed = doctor_machine.LEAST_FREE + 13 * doctor_model.weight_bytes(family.loaded.model)
    findings.append(doctor_machine.disk(Path(getattr(arguments, "out", "runs")).expanduser(), needed))
    if result is not None:
        findings += doctor_model.step_findings(result, settings.steps)
    return found + show("Training it", findings)


def compute_again(directory: Path) -> int:
    """Computes the step again at which a run stopped, and shows where it comes from."""
    from lowland.runs.replay import find_failure, replay

    quiet_libraries()
    folder = find_failure(directory)
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
