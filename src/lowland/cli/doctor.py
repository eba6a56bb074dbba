"""Check this machine and the installation.

usage: lowland doctor [--data-dir DIR]

Checks the installed packages, and the cores, precision, memory and disk of this
machine; with --data-dir, too, which official data sets are there. Each line is
ok, a note, or a problem; a problem makes the exit code 1.

Examples:
  lowland doctor --data-dir ~/glue
"""

from __future__ import annotations

import argparse
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TypeAlias

from packaging.requirements import Requirement
from rich.text import Text

from lowland.cli.console import console, make_table, say
from lowland.cli.options import add_settings
from lowland.config.data import DataSettings
from lowland.errors import UserError
from lowland.report.formats import plain
from lowland.report.words import count, gigabytes
from lowland.tasks.base import Source
from lowland.tasks.registry import get_task, task_names

EXTRAS = {
    "lab": "the command line",
    "report": "figures in reports",
    "hub": "data sets from the Hugging Face hub",
    "peft": "LoRA and other adapters",
}
STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}
Findings: TypeAlias = Iterator[tuple[str, str, str]]  # level, topic and text of each line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_settings(parser, DataSettings, "data", only=("data_dir",))


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    levels = show("Installed", packages())
    if "problem" not in levels:  # what follows imports these packages
        levels += show("This machine", machine())
    if folder := getattr(arguments, "data.data_dir", None):
        levels += show(f"Official files in {folder}", data_sets(Path(folder)))
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
    console.print(table, Text())
    return levels


def packages() -> Findings:
    """Compares the installed packages with what lowland supports."""
    yield "ok", "lowland", f"{version('lowland')} with Python {platform.python_version()}"
    needs = {}  # by name: what an extra needs comes last, and is narrower than what the package needs
    for need in map(Requirement, requires("lowland") or []):
        marker = need.marker
        if extras := [extra for extra in EXTRAS if marker is None or marker.evaluate({"extra": extra})]:
            needs[need.name] = extras[0], need
    for extra, need in needs.values():
        level, remedy = "problem" if extra == "lab" else "note", f"run pip install 'lowland[{extra}]'"
        try:
            found = version(need.name)
        except PackageNotFoundError:
            yield level, extra, f"no {EXTRAS[extra]}: {need.name} is not installed; {remedy}"
            continue
        if need.specifier.contains(found, prereleases=True):
            yield "ok", extra, f"{need.name} {found}"
        else:
            yield level, extra, f"{need} is needed, not {found}; {remedy}"


def machine() -> Findings:
    """Looks at cores and threads, accelerators and their precision, memory and disk."""
    import torch

    from lowland.comparison.jobs import cores
    from lowland.planning.plan import available_memory
    from lowland.train.machine import cpu_has_bf16

    yield threads(torch.get_num_threads(), cores())
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if gpu.major >= 8 else "no bf16"
        yield "ok", "accelerator", f"{gpu.name}, {gigabytes(gpu.total_memory)}, {bf16}"
    if not torch.cuda.device_count():
        bf16 = "bf16 in hardware" if cpu_has_bf16() else "no bf16 in hardware: --precision auto is fp32"
        yield "ok", "accelerator", f"none: the processor computes, {bf16}"
    yield "ok", "memory", f"{gigabytes(available_memory(torch.device('cpu')))} free"
    yield "ok", "disk", f"{gigabytes(shutil.disk_usage(Path.cwd()).free)} free"


def threads(used: int, usable: int) -> tuple[str, str, str]:
    """Compares torch's threads with the cores that this process may use."""
    if usable // 2 <= used <= usable:
        return "ok", "processor", f"{count(used, 'thread')} on {count(usable, 'core')}"
    remedy = f"which slows every step: set OMP_NUM_THREADS={usable}"
    return "note", "processor", f"{count(used, 'thread')} on {count(usable, 'core')}, {remedy}"


def data_sets(directory: Path) -> Findings:
    """Reads the files of every task that lie in a directory, and says which are missing."""
    if not directory.is_dir():
        yield "problem", "data", f"{directory} does not exist, or is no directory"
        return
    folders = {path.name.lower() for path in directory.iterdir() if path.is_dir()}
    missing = []
    for task in map(get_task, task_names()):
        if task.data is None:
            continue
        try:
            data = task.load(Source(data_dir=directory, train=task.data.train is not None))
        except UserError as error:
            # Files that lie directly in the directory may be another task's: only a folder's name tells.
            if any(folder.lower() in folders for folder in task.data.folders):
                yield "problem", task.name, str(error)
            else:
                missing.append(task.name)
            continue
        evaluation = sum(map(len, data.evaluation.values()))
        trained = f"{len(data.train):,} training and " if data.train else ""
        yield "ok", task.name, f"{trained}{evaluation:,} evaluation examples"
        for warning in data.warnings:
            yield "note", "", warning.removeprefix(f"{task.name}: ")
    if missing:
        yield "note", "missing", f"no files for {', '.join(missing)}; see `lowland tasks NAME`"
