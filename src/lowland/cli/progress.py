"""How a running experiment looks: a moving display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lowland.config.experiment import ExperimentConfig
from lowland.planning.advice import span
from lowland.planning.remaining import Remaining
from lowland.runs.examples import ExperimentData
from lowland.runs.run import mean_score
from lowland.train import StepReport

SECONDS_BETWEEN_LINES = 10.0


class ExperimentProgress:
    """Shows how an experiment goes.

    Args:
        console: Where to.
        config: The experiment.
        path: Its directory.
    """

    def __init__(self, console: Console, config: ExperimentConfig, path: Path) -> None:
        self._console = console
        self._config = config
        self._path = path
        self._total = len(config.seeds) * len(config.arms) * config.train.steps
        self._remaining: Remaining | None = None
        self._begun = 0
        self._line_at = 0.0
        self._step = 0
        self._display = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar: TaskID = self._display.add_task("loading", total=self._total, figures="", left="")

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    def _print(self, text: str) -> None:
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def on_data(
        self,
        data: ExperimentData,
        sizes: Mapping[str, int],
        warnings: list[str],
        done: Collection[tuple[str, int]],
    ) -> None:
        """Says what is odd about the data, and where the results will be."""
        for warning in warnings:
            self._print(f"Warning: {warning}")
        self._print(f"Results: {self._path}")
        examples = sum(len(part) for part in data.evaluation.values())
        self._remaining = Remaining(self._config, done, examples)

    def on_run(self, arm: str, seed: int, done: bool) -> None:
        """Turns to the next run."""
        self._begun += 1
        self._step = 0
        if self._remaining is not None:
            self._remaining.on_run(arm, seed)
        runs = len(self._config.seeds) * len(self._config.arms)
        self._name = f"run {self._begun} of {runs}: {arm}, seed {seed}"
        if done:
            self._print(f"{self._name}: done before")
            # What was done before says nothing about the time that the rest will take.
            self._total -= self._config.train.steps
            self._display.update(self._bar, total=self._total)
        else:
            self._display.update(self._bar, description=self._name, figures="")

    def on_failure(self, arm: str, seed: int, sentence: str) -> None:
        """Says that a run could not go on."""
        self._print(f"{self._name}: failed. {sentence}")

    def on_resume(self, step: int) -> None:
        """Says that an interrupted run goes on."""
        self._print(f"{self._name}: goes on after step {step}")
        if self._remaining is not None:
            self._remaining.on_resume(step)
        self._total -= step
        self._step = step
        self._display.update(self._bar, total=self._total)

    def on_note(self, sentence: str) -> None:
        """Says something that the user should know."""
        self._print(sentence)

    def on_log(self, report: StepReport) -> None:
        """Moves the display, or prints a line now and then."""
        figures = f"step {report.step}/{self._config.train.steps}  loss {report.loss_text}"
        if self._remaining is not None:
            self._remaining.on_log(report)
        self._display.update(self._bar, advance=report.step - self._step, figures=figures, left=self._left())
        self._step = report.step
        now = time.monotonic()
        if not self._console.is_terminal and now - self._line_at > SECONDS_BETWEEN_LINES:
            self._line_at = now
            self._print(f"{self._name}: {figures}  {self._left()}".rstrip())

    def on_scores(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Prints the scores of an evaluation."""
        if self._remaining is not None:
            self._remaining.on_scores(step)
            self._display.update(self._bar, left=self._left())
        shown = "  ".join(
            f"{name} {'/'.join(f'{value:.1f}' for value in metrics.values())}"
            for name, metrics in scores.items()
        )
        if len(scores) > 1:
            average = mean_score(scores)
            # A correlation, say, is not defined where the model writes the same for every input.
            shown = f"average {f'{average:.1f}' if math.isfinite(average) else 'undefined'}  ({shown})"
        self._print(f"{self._name}: step {step}  {shown}")

    def show_share(self, share: float, figures: str, left: str, line: bool) -> None:
        """Moves the display to a share of the work that is done in other processes.

        Args:
            share: From 0 to 1.
            figures: What else there is to say.
            left: How long it will still take.
            line: Whether to print a line where there is no display.
        """
        self._display.update(
            self._bar, description=f"{share:.0%}", completed=share * self._total, figures=figures, left=left
        )
        if line and not self._console.is_terminal:
            self._print(f"{share:.0%} done, {figures}  {left}".rstrip())

    def _left(self) -> str:
        """Says how long all runs together will still take."""
        seconds = None if self._remaining is None else self._remaining.seconds()
        return "" if seconds is None else f"about {span(seconds)} left"
