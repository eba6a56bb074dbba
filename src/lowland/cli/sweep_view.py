"""How a sweep looks: its plan, and its experiments as they come and go."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from rich.console import Console
from rich.text import Text

from lowland.cli.console import make_table
from lowland.cli.jobs_view import STOPPING
from lowland.cli.progress import ExperimentProgress
from lowland.compare import Cell, Job, Pace, Speed
from lowland.compare.compare import Progress
from lowland.planning.advice import span
from lowland.report.formats import plain
from lowland.report.words import count
from lowland.runs.directory import RunDirectory

MOST_CELLS = 40
SECONDS_BETWEEN_LINES = 60.0

Left = Mapping[str, Sequence[RunDirectory]]
"""Cell -> the runs that it trains."""


def show_plan(cells: Sequence[Cell], left: Left, speed: Speed, jobs: int, console: Console) -> None:
    """Prints what a sweep will do."""
    table = make_table("Plan", "Experiment", "Arms", "Train", "Steps", "Time")
    for column in table.columns[1:]:
        column.justify = "right"
    total: float | None = 0.0
    for number, cell in enumerate(cells):
        runs = left[cell.name]
        times = [speed(cell.config, run.arm) for run in runs]
        known = [value for value in times if value is not None]
        seconds = sum(known) if len(known) == len(times) else None
        total = None if total is None or seconds is None else total + seconds
        if number >= MOST_CELLS:
            continue
        time_left = "unknown" if seconds is None else span(seconds) if runs else "-"
        own = f"{len(runs) * cell.config.train.steps:,}"
        numbers = (str(len(cell.config.arms)), str(len(runs)), own, time_left)
        table.add_row(Text(plain(cell.name)), *map(Text, numbers))
    console.print(table)
    if len(cells) > MOST_CELLS:
        console.print(f"... and {len(cells) - MOST_CELLS} experiments more")
    trained = sum(len(runs) for runs in left.values())
    steps = sum(len(left[cell.name]) * cell.config.train.steps for cell in cells)
    everything = sum(len(cell.config.arms) * len(cell.config.seeds) for cell in cells)
    parts = [f"{count(len(cells), 'experiment')}: {count(trained, 'run')} to train, {steps:,} steps"]
    if everything > trained:
        parts.append(f"{everything - trained} done before")
    if trained:
        parts.append("time unknown" if total is None else f"about {span(total)} on this machine")
    if jobs > 1:
        parts[-1] += f" one after another; {jobs} at a time"
    console.print(Text("; ".join(parts) + "."), soft_wrap=True)
    for reason in dict.fromkeys(speed.unknown):
        console.print(Text(f"* {plain(reason)}", style="yellow"), soft_wrap=True)


class SweepView:
    """Prints the experiments of a sweep, and runs in processes of their own, as they come and go.

    Args:
        console: Where to.
        cells: The experiments.
        jobs: The runs in processes of their own.
    """

    def __init__(self, console: Console, cells: Sequence[Cell], jobs: Sequence[Job] = ()) -> None:
        self._console = console
        self._cells = len(cells)
        self._jobs = len({job.run.path.absolute() for job in jobs})
        self._pace = Pace(jobs)
        self._ended = self._jobs_ended = 0
        self._line_at = time.monotonic()

    def on_start(self, job: Job) -> None:
        """Says that a run begins in a process of its own."""
        self._print(f"{job.settings.stem}: started", style="bold")

    def on_end(self, job: Job, problem: str | None) -> None:
        """Says how it came out."""
        self._jobs_ended += 1
        text = "done" if problem is None else f"failed. {problem}"
        self._print(
            f"[{self._jobs_ended}/{self._jobs}] {job.settings.stem}: {text}", (problem and "red") or ""
        )
        self._say_pace()

    def on_wait(self) -> None:
        """Says now and then how long it will still take."""
        if time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES:
            self._say_pace()

    def on_stop(self) -> None:
        """Says what a stop waits for."""
        self._print(STOPPING)

    def on_cell(self, cell: Cell) -> None:
        """Says that work on an experiment begins in this process."""
        if not self._jobs:
            self._print(f"{cell.name}: started", style="bold")

    def on_cell_end(self, cell: Cell, problem: str | None) -> None:
        """Says how an experiment came out."""
        self._ended += 1
        text = headline(cell) if problem is None else f"failed. {problem}"
        self._print(f"[{self._ended}/{self._cells}] {cell.name}: {text}", "" if problem is None else "red")

    def experiment(self, cell: Cell) -> AbstractContextManager[Progress]:
        """Shows how an experiment goes that runs in this process."""
        return ExperimentProgress(self._console, cell.config, cell.path)

    def _say_pace(self) -> None:
        self._line_at = time.monotonic()
        seconds = self._pace.seconds()
        if seconds is not None and self._jobs_ended < self._jobs:
            self._print(f"{self._pace.share:.0%} done, about {span(seconds)} left")

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(plain(text), style=style), soft_wrap=True)


def headline(cell: Cell) -> str:
    """Reads the result of an experiment in one sentence from its report."""
    try:
        content = json.loads((cell.path / "report" / "report.json").read_text(encoding="utf-8"))
        return str(content["headline"])
    except (OSError, ValueError, KeyError):
        return "done"
