"""How a sweep looks: its plan, and its cells as they come and go."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager

from rich.console import Console
from rich.text import Text

from lowland.cli.console import make_table
from lowland.cli.progress import ExperimentProgress
from lowland.experiment.advice import span
from lowland.experiment.compare import Progress
from lowland.experiment.sweep import Pace, Plan, Speed, SweepCell
from lowland.report.formats import plain
from lowland.report.words import count

MOST_CELLS = 40
SECONDS_BETWEEN_LINES = 60.0
STOPPING = "Stopping each process after its step, with everything saved; Ctrl-C again stops at once."


def show_plan(plan: Plan, speed: Speed, jobs: int, console: Console) -> None:
    """Prints what a sweep will do."""
    table = make_table("Plan", "Cell", "Train", "Share", "Done", "Steps", "Time")
    for column in table.columns[1:]:
        column.justify = "right"
    for planned in plan.cells[:MOST_CELLS]:
        seconds = planned.seconds(speed)
        numbers = (len(planned.train), len(planned.share), planned.done, f"{planned.steps:,}")
        time = "unknown" if seconds is None else span(seconds) if planned.train else "-"
        table.add_row(Text(plain(planned.cell.name)), *(Text(str(number)) for number in numbers), Text(time))
    console.print(table)
    if len(plan.cells) > MOST_CELLS:
        console.print(f"... and {len(plan.cells) - MOST_CELLS} cells more")
    parts = [
        f"{count(len(plan.cells), 'cell')}: {count(plan.runs, 'run')} to train, {plan.steps:,} steps",
        *([f"{count(plan.shared, 'standard run')} shared"] if plan.shared else []),
        *([f"{plan.done} done before"] if plan.done else []),
    ]
    seconds = plan.seconds(speed)
    if plan.runs:
        parts.append("time unknown" if seconds is None else f"about {span(seconds)} on this machine")
    if jobs > 1:
        parts[-1] += f" one after another; {jobs} at a time"
    console.print(Text("; ".join(parts) + "."), soft_wrap=True)
    for reason in speed.unknown:
        console.print(Text(f"* {plain(reason)}", style="yellow"), soft_wrap=True)


class SweepView:
    """Prints the cells of a sweep as they come and go.

    Args:
        console: Where to.
        plan: What is done.
    """

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._cells = len(plan.cells)
        self._pace = Pace(plan)
        self._ended = 0
        self._line_at = time.monotonic()

    def on_start(self, cell: SweepCell, what: str) -> None:
        """Says that work on a cell begins."""
        part = f", {what}" if what else ""
        self._print(f"{cell.name}{part}: started", style="bold")

    def on_end(self, cell: SweepCell, problem: str | None) -> None:
        """Says how a cell came out."""
        self._ended += 1
        text = headline(cell) if problem is None else f"failed. {problem}"
        self._print(
            f"[{self._ended}/{self._cells}] {cell.name}: {text}", style="" if problem is None else "red"
        )
        self._say_pace()

    def on_wait(self) -> None:
        """Says now and then how long it will still take."""
        if time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES:
            self._say_pace()

    def on_stop(self) -> None:
        """Says what a stop waits for."""
        self._print(STOPPING)

    def experiment(self, cell: SweepCell) -> AbstractContextManager[Progress]:
        """Shows how a cell that runs in this process goes."""
        return ExperimentProgress(self._console, cell.config, cell.path)

    def _say_pace(self) -> None:
        self._line_at = time.monotonic()
        seconds = self._pace.seconds()
        if seconds is not None and self._ended < self._cells:
            self._print(f"{self._pace.share:.0%} done, about {span(seconds)} left")

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(plain(text), style=style), soft_wrap=True)


def headline(cell: SweepCell) -> str:
    """Reads the result of a cell in one sentence from its report."""
    try:
        content = json.loads((cell.path / "report" / "report.json").read_text(encoding="utf-8"))
        return str(content["headline"])
    except (OSError, ValueError, KeyError):
        return "done"
