"""What `lowland doctor` says of the machine and of what is installed, and how it says it."""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, TypeAlias

import psutil
from packaging.requirements import Requirement
from rich.table import Table
from rich.text import Text

from lowland.cli.console import console
from lowland.report.formats import plain
from lowland.report.words import gigabytes

Level: TypeAlias = Literal["ok", "note", "problem"]
STYLES: dict[Level, str] = {"ok": "green", "note": "yellow", "problem": "bold red"}
LEAST_PYTHON = (3, 11)
LEAST_FREE = 1e9
"""Bytes that a small experiment with its checkpoints and report needs."""

EXTRAS = {
    "report": "figures in reports",
    "hub": "data sets from the Hugging Face hub",
    "peft": "LoRA and other adapters",
}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        level: `ok`; `note` for what costs time or is missing and not needed by all; `problem` for what
            will fail.
        topic: What it is about, in a word or two.
        text: What was found, and what to do where it is not well.
    """

    level: Level
    topic: str
    text: str


Findings: TypeAlias = Iterator[Finding]


def show(title: str, findings: Iterable[Finding], width: int = 12) -> list[Finding]:
    """Prints findings under a title, each as soon as it is found, and returns them."""
    console.print(Text(title, style="bold"))
    shown = []
    for finding in findings:
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=7, style=STYLES[finding.level])
        line.add_column(width=width, style="dim")
        line.add_column(overflow="fold")
        line.add_row(finding.level, Text(finding.topic), Text(plain(finding.text)))
        console.print(line)
        shown.append(finding)
    console.print()
    return shown


def packages() -> Findings:
    """Compares Python and the installed packages with what lowland supports."""
    found = platform.python_version()
    least = ".".join(map(str, LEAST_PYTHON))
    if sys.version_info < LEAST_PYTHON:
        yield Finding("problem", "Python", f"{found}, but lowland needs {least} or newer")
    else:
        yield Finding("ok", "Python", found)
    required = [Requirement(line) for line in requires("lowland") or []]
    needed = [need for need in required if need.marker is None or need.marker.evaluate({"extra": "lab"})]
    unfit = [(need, what) for need in needed if (what := _unfit(need)) is not None]
    for need, what in unfit:
        yield Finding("problem", need.name, f"{what}: run pip install '{need.name}{need.specifier}'")
    if not unfit:
        main = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "accelerate"))
        yield Finding("ok", "packages", f"lowland {version('lowland')} with {main}")
    for extra, purpose in EXTRAS.items():
        belongs = [need for need in required if need.marker and need.marker.evaluate({"extra": extra})]
        belongs = [need for need in belongs if need not in needed]
        missing = [what for need in belongs if (what := _unfit(need)) is not None]
        if missing:
            yield Finding(
                "note", extra, f"no {purpose} ({', '.join(missing)}): run pip install 'lowland[{extra}]'"
            )
        else:
            yield Finding("ok", extra, purpose)


def _unfit(need: Requirement) -> str | None:
    """Says what is wrong with an installed package; `None` if nothing is."""
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return f"{need.name} is not installed"
    if not need.specifier.contains(found, prereleases=True):
        return f"{need.name} {found} is installed, but lowland supports {need.specifier}"
    return None


def machine() -> Findings:
    """Looks at cores and threads, arithmetic, memory and accelerators."""
    import torch

    from lowland.planning.memory import available_memory
    from lowland.runs.environment import describe_environment
    from lowland.train.machine import cpu_has_bf16

    environment = describe_environment()
    cores, threads = usable_cores(), torch.get_num_threads()
    yield Finding(
        "ok", "processor", f"{environment['processor'] or platform.machine()}, {cores} cores to use"
    )
    omp = os.environ.get("OMP_NUM_THREADS", "")
    # torch may say less than what the libraries below it start.
    threads = max(threads, int(omp)) if omp.isdecimal() else threads
    yield threads_finding(threads, cores, omp)
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > 0.5 * cores:
        text = f"{busy:.1f} programs on average want the {cores} cores: everything takes longer"
        advice = "; one thread may be many times as fast: set OMP_NUM_THREADS=1" if threads > 1 else ""
        yield Finding("note", "load", text + advice)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            size = torch.cuda.get_device_properties(index).total_memory
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            text = f"{torch.cuda.get_device_name(index)}, {gigabytes(size)}, {'bf16' if bf16 else 'no bf16'}"
            yield Finding("ok", "accelerator", text)
    elif torch.backends.mps.is_available():
        yield Finding("ok", "accelerator", "Apple's GPU (mps)")
    else:
        yield Finding("ok", "accelerator", "none: everything runs on the processor")
        yield (
            Finding("ok", "bf16", "in hardware: --precision auto computes in bf16, with fp32 weights")
            if cpu_has_bf16()
            else Finding("ok", "bf16", "not in hardware: --precision auto computes in fp32")
        )
    free = available_memory(torch.device("cpu"))
    text = f"{gigabytes(free)} of {gigabytes(psutil.virtual_memory().total)} free"
    yield Finding("note" if free < 2e9 else "ok", "memory", text)


def threads_finding(threads: int, cores: int, omp: str) -> Finding:
    """Compares torch's threads with the cores that this process may use."""
    set_by = f" (OMP_NUM_THREADS is {omp})" if omp else ""
    if threads > cores:
        text = f"{threads} threads{set_by} share {cores} cores, which slows every step"
        return Finding("note", "threads", f"{text}: set OMP_NUM_THREADS={cores}")
    if threads < cores // 2:
        text = f"{threads} of {cores} cores are used{set_by}: unset OMP_NUM_THREADS, or set it to {cores}"
        return Finding("note", "threads", text)
    return Finding("ok", "threads", f"{threads}{set_by}")


def usable_cores() -> int:
    """Counts the cores that this process may use: what the system and the container allow."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup("cpu.max")
    if quota is not None and (parts := quota.split())[0] != "max":
        allowed = min(allowed, max(1, math.ceil(int(parts[0]) / int(parts[1]))))
    return allowed


def _cgroup(name: str) -> str | None:
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def disk(directory: Path, needed: float = LEAST_FREE) -> Finding:
    """Looks at the disk of the directory that will hold the runs, or of the nearest one that exists."""
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Finding("problem", "disk", f"{place} cannot be written to: give another directory with --out")
    if free < needed:
        text = f"{gigabytes(free)} free at {place}, but an experiment may take {gigabytes(needed)}"
        return Finding("problem", "disk", f"{text}: give a directory on another disk with --out")
    return Finding("ok", "disk", f"{gigabytes(free)} free at {place}")
