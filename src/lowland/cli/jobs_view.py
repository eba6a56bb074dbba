"""How runs look that are trained side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lowland.cli.progress import SECONDS_BETWEEN_LINES, ExperimentProgress
from lowland.compare import Job, Pace
from lowland.errors import UserError
from lowland.planning.advice import span
from lowland.report import read_experiment
from lowland.report.selection import Selection, average, score_run

STOPPING = "Stopping each process after its step, with everything saved; Ctrl-C again stops at once."


class JobsView:
    """Shows the runs of an experiment as they come and go.

    Args:
        progress: Shows the experiment.
        runs: How many runs the experiment has.
        jobs: Those that are left.
    """

    def __init__(self, progress: ExperimentProgress, runs: int, jobs: Sequence[Job]) -> None:
        self._progress = progress
        self._pace = Pace(jobs)
        self._ended, self._runs = runs - len(jobs), runs
        self._line_at = time.monotonic()
        if self._ended:
            progress.on_note(f"{self._ended} of {self._runs} runs done before")

    def on_start(self, job: Job) -> None:
        """Says that a run begins."""
        self._progress.on_note(f"{job.name}: started, log in {job.log}")

    def on_end(self, job: Job, problem: str | None) -> None:
        """Says what a run scored."""
        self._ended += 1
        text = f"failed. {problem}" if problem else score_of(job.experiment, job)
        self._progress.on_note(f"[{self._ended}/{self._runs}] {job.name}: {text}")

    def on_wait(self) -> None:
        """Moves the display, and prints a line now and then where there is none."""
        seconds = self._pace.seconds()
        left = "" if seconds is None else f"about {span(seconds)} left"
        line = time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES
        if line:
            self._line_at = time.monotonic()
        self._progress.show_share(self._pace.share, f"{self._ended} of {self._runs} runs", left, line)

    def on_stop(self) -> None:
        """Says what a stop waits for."""
        self._progress.on_note(STOPPING)


def score_of(experiment: Path, job: Job) -> str:
    """Reads the mean score of a run, at the step chosen on held-out data where there is any."""
    try:
        found = read_experiment(experiment)
    except (OSError, UserError):  # of another run: its own process says what is wrong, or is just writing
        return "done"
    for run in found.runs:
        if (run.arm, run.seed) == (job.run.arm, job.run.seed):
            scored = score_run(run, found.metrics, Selection.HELD_OUT)
            scored = scored or score_run(run, found.metrics, Selection.LAST_STEP)
            if scored is not None:
                return f"{average(scored[0], found.metrics):.1f}"
    return "done"
