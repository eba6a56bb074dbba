"""`lowland doctor`: what this machine and this set-up can do, and what would go wrong."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lowland.cli import options
from lowland.cli.console import console, errors, make_table, note, quiet_libraries
from lowland.cli.generated import add_settings
from lowland.errors import UserError
from lowland.report.formats import plain
from lowland.tasks import Source, get_task, task_names
from lowland.train.settings import TrainSettings

if TYPE_CHECKING:
    from lowland.cli.doctor_machine import Finding, Findings
    from lowland.families.base import Family
    from lowland.planning.plan import Plan

HELP = "check this machine and the installation"
USAGE = "[--option ...]"
DESCRIPTION = """\
Checks this machine and the installation: packages, cores and memory, whether
the model loads as it was saved, what an experiment with it costs, and which
data sets are there.
Each line is ok, a note, or a problem; a problem makes the exit code 1.
With --step: finds the examples and the layer of a loss that is not finite."""
EPILOG = """\
examples:
  lowland doctor --model ~/t5-v1_1-base --data-dir ~/glue --batch-size 16
  lowland doctor --step runs/my-run
"""
SAMPLE = "What is the capital of France?"
TASK = "facts/capitals"
CLASSES = "glue/sst2"
"""A task whose labels stand for those of a classifier."""

MOST_EXAMPLES, WIDTH = 5, 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    group = parser.add_argument_group("what to look at")
    group.add_argument("--model", metavar="NAME", help="directory of a checkpoint (default: embedded)")
    group.add_argument("--out", metavar="DIR", help="directory of results (default: runs)")
    group.add_argument(
        "--step",
        metavar="DIR",
        help="compute the step again at which a run stopped because loss or gradient was not finite; the "
        "directory of an experiment, of a run or of a kept step",
    )
    options.add_sources(parser)
    planned = ("batch_size", "micro_batch_size", "gradient_checkpointing", "input_length", "target_length")
    add_settings(parser.add_argument_group("training"), TrainSettings, "train", only=planned, strict=True)
    group.add_argument("--no-timing", action="store_true", help="do not plan an experiment")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    if "step" in arguments:
        return compute_again(Path(arguments.step).expanduser())
    from lowland.cli.doctor_machine import disk, machine, packages, show

    found = show("Installed", packages())
    if not any(finding.level == "problem" for finding in found):
        # What follows imports the packages that were looked at.
        found += show("This machine", machine())
        found += show("Model", look_at_model(arguments))
        found += show("Results", [disk(Path(getattr(arguments, "out", "runs")).expanduser())])
        if "no_timing" not in arguments and not any(finding.level == "problem" for finding in found):
            found += show("An experiment with it", look_at_training(arguments))
        folder = getattr(arguments, "data.data_dir", None)
        if folder is not None:
            with errors.status("reading the data"):
                findings = list(look_at_data(Path(folder).expanduser()))
            found += show(f"Official files in {folder}", findings, width=22)
    problems, notes = (sum(finding.level == level for finding in found) for level in ("problem", "note"))
    verdict = {0: "No problem", 1: "1 problem"}.get(problems, f"{problems} problems")
    console.print(Text(f"{verdict}, {notes} note{'' if notes == 1 else 's'}.", style="bold"))
    return 1 if problems else 0


def look_at_model(arguments: argparse.Namespace) -> Findings:
    """Loads the model as training does, and says whether it is as its files say."""
    from lowland.cli.doctor_machine import Finding
    from lowland.families.base import Start
    from lowland.families.recognise import load_family
    from lowland.models.head import is_t5

    quiet_libraries()
    name = getattr(arguments, "model", "embedded")
    try:
        with errors.status("loading the model"):
            start = Start(tasks=lambda: {CLASSES: (get_task(CLASSES), ())})
            family = load_family(name, start=start, hub=getattr(arguments, "data.hub", False))
    except UserError as error:
        yield Finding("problem", "model", str(error))
        return
    model, tokenizer = family.loaded.model, family.loaded.tokenizer
    count = sum(parameter.numel() for parameter in model.parameters())
    kind = f"{model.config.model_type} ({family.name})"
    yield Finding("ok", "model", f"{name}: {kind}, {count / 1e6:.1f} million weights")
    ids = tokenizer(SAMPLE)["input_ids"]
    back = " ".join(str(tokenizer.decode(ids, skip_special_tokens=True)).split())
    text = f"{len(tokenizer):,} tokens, which fit the embeddings"
    if back == SAMPLE:
        yield Finding("ok", "tokenizer", text)
    else:
        yield Finding("note", "tokenizer", f"{text}; {SAMPLE!r} comes back as {back!r}")
    if is_t5(model):
        yield look_at_head(family, Path(name).expanduser())
    for sentence in family.notes:
        yield Finding("note", "", sentence)


def look_at_head(family: Family, directory: Path) -> Finding:
    """Checks that the output matrix of a T5 model is the one that its files hold."""
    import torch
    from safetensors import safe_open

    from lowland.cli.doctor_machine import Finding
    from lowland.models.head import has_separate_head

    name, model = "lm_head.weight", family.loaded.model
    weight = model.get_output_embeddings().weight
    for file in sorted(directory.glob("*.safetensors")) if directory.is_dir() else []:
        with safe_open(file, framework="pt") as tensors:
            if name in tensors.keys() and not torch.equal(tensors.get_tensor(name).to(weight), weight):  # noqa: SIM118
                return Finding("problem", "lm_head", "the output matrix is not the one in the files")
    if has_separate_head(model):
        return Finding("ok", "lm_head", "an output matrix of its own, kept apart from the token embeddings")
    return Finding("ok", "lm_head", "the output matrix is shared with the token embeddings, as in T5 1.0")


def look_at_training(arguments: argparse.Namespace) -> Findings:
    """Plans a comparison of baseline and SAM on short questions, as `compare --plan` does."""
    from lowland.cli.doctor_machine import Finding
    from lowland.cli.plan import lines_of
    from lowland.cli.settings import settings_of
    from lowland.config.experiment import build_config
    from lowland.planning.plan import plan_experiment, refuse_oversized

    def planned(data: Mapping[str, Any]) -> Plan:
        with errors.status("measuring"):
            return plan_experiment(build_config({"data": data}, settings_of(arguments)))

    try:
        plan = planned({"tasks": [TASK]})
    except UserError:  # a classifier, which has no labels to learn there
        with TemporaryDirectory() as folder:
            rows = Path(folder) / "rows.csv"
            rows.write_text(
                "text,label\n" + f"{SAMPLE},question\nIt is Paris.,answer\n" * 200, encoding="utf-8"
            )
            own = {"train": str(rows), "split": 0.5, "input": "{text}", "target": "{label}"}
            try:
                plan = planned({"custom": own})
            except UserError as error:
                yield Finding("note", "training", f"{error} `lowland compare TASK --plan` says more.")
                return
    for topic, text in lines_of(plan, {}):
        if topic in ("memory", "time", "disk"):
            yield Finding("ok", topic, text)
    try:
        refuse_oversized(plan, Path(getattr(arguments, "out", "runs")).expanduser())
    except UserError as error:
        yield Finding("problem", "size", str(error))


def look_at_data(directory: Path) -> Findings:
    """Reads the files of every task that lie in a directory, and says which are missing."""
    from lowland.cli.doctor_machine import Finding

    if not directory.is_dir():
        yield Finding("problem", "data", f"{directory} does not exist, or is no directory")
        return
    there = {path.name.lower() for path in directory.iterdir() if path.is_dir()}
    missing: list[str] = []
    found = 0
    for name in task_names():
        task = get_task(name)
        known = task.data
        if task.carried is not None or known is None:
            continue
        trained = known.train is not None
        try:
            data = task.load(Source(data_dir=directory, train=trained))
        except UserError as error:
            # Files that lie directly in the directory may be another task's: only a folder's name tells.
            if any(folder.lower() in there for folder in known.folders):
                found += 1
                yield Finding("problem", name, str(error))
            else:
                missing.append(name)
            continue
        found += 1
        text = f"{len(data.train):,} training and " if trained else ""
        yield Finding("ok", name, f"{text}{sum(map(len, data.evaluation.values())):,} evaluation examples")
        for warning in data.warnings:
            yield Finding("note", "", warning.removeprefix(f"{name}: "))
    if not found:
        sentence = f"no official file in {directory}: `lowland tasks NAME` says what a task looks for"
        yield Finding("problem", "data", sentence)
    elif missing:
        yield Finding("note", "missing", f"no files for {', '.join(missing)}")


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
