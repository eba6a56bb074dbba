"""`lowland doctor`: what is installed, and what this machine can do."""

from __future__ import annotations

import argparse
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TypeAlias

import psutil
from packaging.requirements import Requirement
from rich.text import Text

from lowland.cli import options
from lowland.cli.console import console, make_table, say
from lowland.errors import UserError
from lowland.report.formats import plain
from lowland.report.words import count, gigabytes
from lowland.tasks import Source, get_task, task_names

HELP = "check this machine and the installation"
USAGE = "[--option ...]"
DESCRIPTION = """\
Checks the installed packages, the cores, precision, memory and disk of this
machine, (--model) how a model loads and what it needs, and (--data-dir) which
official data sets are there. Each line is ok, a note, or a problem; a problem
makes the exit code 1."""
EPILOG = """\
examples:
  lowland doctor --model ~/t5-v1_1-base --data-dir ~/glue
"""

EXTRAS = {
    "lab": "the command line",
    "report": "figures in reports",
    "hub": "data sets from the Hugging Face hub",
    "peft": "LoRA and other adapters",
}
MAIN = ("torch", "transformers", "accelerate")
STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}
LEAST_MEMORY, LEAST_DISK = 2e9, 1e9
"""Bytes that a small experiment needs."""

Findings: TypeAlias = Iterator[tuple[str, str, str]]
"""Level, topic and text of each line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    options.add_sources(parser)
    text = "directory of a checkpoint: how it loads, and what a step of it needs here"
    options.add(parser, "--model", "NAME", text)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    levels = show("Installed", packages())
    if "problem" not in levels:  # what follows imports these packages
        levels += show("This machine", machine())
        if "model" in arguments and "problem" not in levels:
            from lowland.cli.doctor_model import look_at_model

            levels += show("Model", look_at_model(arguments.model, getattr(arguments, "data.hub", False)))
    folder = getattr(arguments, "data.data_dir", None)
    if folder is not None:
        levels += show(f"Official files in {folder}", data_sets(Path(folder).expanduser()))
    problems, notes = levels.count("problem"), levels.count("note")
    say(f"{count(problems, 'problem') if problems else 'No problem'}, {count(notes, 'note')}.", style="bold")
    return 1 if problems else 0


def show(title: str, findings: Findings) -> list[str]:
    """Prints findings under a title, and returns their levels."""
    table = make_table(title, "", "", "")
    table.show_header = False
    levels = []
    for level, topic, text in findings:
        table.add_row(Text(level, STYLES[level]), Text(topic, "dim"), Text(plain(text)))
        levels.append(level)
    console.print(table)
    console.print()
    return levels


def packages() -> Findings:
    """Compares the installed packages with what lowland supports."""
    yield "ok", "lowland", f"{version('lowland')} with Python {platform.python_version()}"
    left = [Requirement(line) for line in requires("lowland") or []]
    for extra, purpose in EXTRAS.items():
        needed = [one for one in left if one.marker is None or one.marker.evaluate({"extra": extra})]
        left = [one for one in left if one not in needed]
        unfit = [text for one in needed if (text := _unfit(one)) is not None]
        if unfit:
            remedy = f"run pip install 'lowland[{extra}]'"
            yield (
                "problem" if extra == "lab" else "note",
                extra,
                f"no {purpose}: {', '.join(unfit)}; {remedy}",
            )
        else:
            main = [f"{name} {version(name)}" for name in MAIN if extra == "lab"]
            yield "ok", extra, ", ".join([purpose, *main])


def _unfit(need: Requirement) -> str | None:
    """Says what is wrong with an installed package; `None` if nothing is."""
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return f"{need.name} is not installed"
    return None if need.specifier.contains(found, prereleases=True) else f"{need} is needed, not {found}"


def machine() -> Findings:
    """Looks at cores and threads, accelerators and their precision, memory and disk."""
    import torch

    from lowland.comparison.jobs import cores
    from lowland.planning.memory import available_memory
    from lowland.runs.environment import describe_environment
    from lowland.train.machine import cpu_has_bf16

    processor = describe_environment()["processor"] or platform.machine()
    yield "ok", "processor", f"{processor}, {count(cores(), 'core')} to use"
    yield threads(torch.get_num_threads(), cores())
    gpus = range(torch.cuda.device_count())
    for index in gpus:
        found = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if found.major >= 8 else "no bf16"
        yield "ok", "accelerator", f"{found.name}, {gigabytes(found.total_memory)}, {bf16}"
    if not gpus:
        what = "Apple's GPU (mps)" if torch.backends.mps.is_available() else "none: the processor computes"
        yield "ok", "accelerator", what
        precision = (
            "in hardware; --precision auto is bf16" if cpu_has_bf16() else "no; --precision auto is fp32"
        )
        yield "ok", "bf16", precision
    for topic, free, total, least in (
        ("memory", available_memory(torch.device("cpu")), psutil.virtual_memory().total, LEAST_MEMORY),
        ("disk", (disk := shutil.disk_usage(Path.cwd())).free, disk.total, LEAST_DISK),
    ):
        yield "note" if free < least else "ok", topic, f"{gigabytes(free)} of {gigabytes(total)} free"


def threads(used: int, usable: int) -> tuple[str, str, str]:
    """Compares torch's threads with the cores that this process may use."""
    fit = usable // 2 <= used <= usable
    remedy = "" if fit else f", which slows every step: set OMP_NUM_THREADS={usable}"
    return "ok" if fit else "note", "threads", f"{used} on {count(usable, 'core')}{remedy}"


def data_sets(directory: Path) -> Findings:
    """Reads the files of every task that lie in a directory, and says which are missing."""
    if not directory.is_dir():
        yield "problem", "data", f"{directory} does not exist, or is no directory"
        return
    folders = {path.name.lower() for path in directory.iterdir() if path.is_dir()}
    missing: list[str] = []
    for task in map(get_task, task_names()):
        if task.carried is not None or task.data is None:
            continue
        trained = task.data.train is not None
        try:
            data = task.load(Source(data_dir=directory, train=trained))
        except UserError as error:
            # Files that lie directly in the directory may be another task's: only a folder's name tells.
            if any(folder.lower() in folders for folder in task.data.folders):
                yield "problem", task.name, str(error)
            else:
                missing.append(task.name)
            continue
        text = f"{len(data.train):,} training and " if trained else ""
        yield "ok", task.name, f"{text}{sum(map(len, data.evaluation.values())):,} evaluation examples"
        for warning in data.warnings:
            yield "note", "", warning.removeprefix(f"{task.name}: ")
    if missing:
        yield "note", "missing", f"no files for {', '.join(missing)}; see `lowland tasks NAME`"
