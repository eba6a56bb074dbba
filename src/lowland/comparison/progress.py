"""How a running experiment looks: a moving display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.planning.remaining import Remaining
from lowland.report.selection import mean_score
from lowland.report.words import span

if TYPE_CHECKING:  # what a finished experiment scored is shown without torch
    from lowland.comparison.jobs import Job
    from lowland.train.log import StepReport

SECONDS_BETWEEN_LINES = 10.0


class ExperimentProgress:
    """Shows how an experiment in a directory goes, on a console."""

    def __init__(self, console: Console, config: ExperimentConfig, path: Path) -> None:
        self._console, self._config, self._path = console, config, path
        self._runs = len(config.seeds) * len(config.arms)
        self._remaining: Remaining | None = None
        self._begun = self._ended = 0
        self._line_at = self._share = 0.0
        self._name = ""
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
        self._bar = self._display.add_task("loading", total=1.0, figures="", left="")

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._display.stop()

    def on_note(self, sentence: str) -> None:
        """Says something that the user should know."""
        self._console.print(escape(sentence), highlight=False, soft_wrap=True)

    def on_data(self, warnings: Sequence[str]) -> None:
        """Says what is odd about the data, and where the results will be."""
        for warning in warnings:
            self.on_note(f"Warning: {warning}")
        self.on_note(f"Results: {self._path}")
        self._remaining = Remaining(self._config, self._path)

    def on_run(self, arm: str, seed: int, done: bool) -> None:
        """Turns to the next run."""
        self._begun += 1
        self._name = f"run {self._begun} of {self._runs}: {arm}, seed {seed}"
        if done:
            self.on_run_note("done before")
        else:
            self._display.update(self._bar, description=self._name, figures="")

    def on_run_note(self, words: str) -> None:
        """Says something of the run."""
        self.on_note(f"{self._name}: {words}")

    def on_log(self, report: StepReport) -> None:
        """Moves the display, or prints a line now and then."""
        figures = f"step {report.step}/{self._config.train.steps}  loss {report.loss_text}"
        self._line(f"{self._name}: {figures}  {self._move(figures)}")

    def on_scores(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Prints the scores of an evaluation."""
        shown = "  ".join(
            f"{name} {'/'.join(f'{value:.1f}' for value in metrics.values())}"
            for name, metrics in scores.items()
        )
        if len(scores) > 1:
            average = mean_score(scores)
            # A correlation, say, is not defined where the model writes the same for every input.
            shown = f"average {f'{average:.1f}' if math.isfinite(average) else 'undefined'}  ({shown})"
        self.on_run_note(f"step {step}  {shown}")

    def begin_jobs(self, jobs: Sequence[Job]) -> None:
        """Turns to runs in processes of their own."""
        self._ended = self._runs - len(jobs)
        if self._ended:
            self.on_note(f"{self._ended} of {self._runs} runs done before")

    def on_end(self, job: Job, problem: str | None) -> None:
        """Says how such a run ended."""
        self._ended += 1
        how = "done" if problem is None else f"failed. {problem}"
        self.on_note(f"[{self._ended}/{self._runs}] {job.name}: {how}")

    def on_wait(self) -> None:
        """Moves the display while such runs go on, and prints a line now and then where there is none."""
        left = self._move(figures := f"{self._ended} of {self._runs} runs")
        self._line(f"{self._share:.0%} done, {figures}  {left}")

    def _line(self, text: str) -> None:
        """Prints a line now and then where there is no display."""
        now = time.monotonic()
        if not self._console.is_terminal and now - self._line_at > SECONDS_BETWEEN_LINES:
            self._line_at = now
            self.on_note(text.rstrip())

    def _move(self, figures: str) -> str:
        """Moves the display; says how long all runs together will still take."""
        if self._remaining is None:
            return ""
        seconds = self._remaining.seconds()
        self._share = self._remaining.share
        left = "" if seconds is None else f"about {span(seconds)} left"
        self._display.update(self._bar, completed=self._share, figures=figures, left=left)
        return left


class TrackedProgress(ExperimentProgress):
    """Logs every run to one of Accelerate's trackers, too; TensorBoard's files go to `tensorboard/`."""

    def __init__(self, console: Console, config: ExperimentConfig, path: Path, tracker: str) -> None:
        from accelerate import tracking
        from accelerate.utils import LoggerType

        if LoggerType(tracker) not in tracking.get_available_trackers():
            raise UserError(f"--tracker {tracker}: it is not installed. Type: pip install {tracker}")
        super().__init__(console, config, path)
        self._make, self._in_folder = tracking.LOGGER_TYPE_TO_CLASS[tracker], tracker == "tensorboard"
        self._tracker: Any = None

    def __exit__(self, *error: object) -> None:
        self._finish()
        super().__exit__(*error)

    def on_run(self, arm: str, seed: int, done: bool) -> None:
        """Turns to the next run; one that is done was logged when it was trained."""
        super().on_run(arm, seed, done)
        self._finish()
        if done:
            return
        name = f"{arm}-seed{seed}"
        if self._in_folder:
            self._tracker = self._make(name, logging_dir=str(self._path / "tensorboard"))
        else:
            self._tracker = self._make(self._path.name, name=name)
        self._tracker.start()

    def on_log(self, report: StepReport) -> None:
        """Logs the figures of a line of the training log."""
        super().on_log(report)
        figures = {f"train/{name}": value for name, value in asdict(report).items() if value is not None}
        del figures["train/step"]
        self._tracker.log(figures, step=report.step)

    def on_scores(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Logs the scores of an evaluation."""
        super().on_scores(step, scores)
        values = {f"{task}/{name}": value for task, of in scores.items() for name, value in of.items()}
        self._tracker.log(values, step=step)

    def _finish(self) -> None:
        if self._tracker is not None:
            self._tracker.finish()
            self._tracker = None
