"""How a comparison looks whose seeds run side by side."""

from __future__ import annotations

import time

from lowland.cli.progress import NAMES, SECONDS_BETWEEN_LINES, ExperimentProgress
from lowland.cli.sweep_view import STOPPING
from lowland.errors import UserError
from lowland.experiment.advice import span
from lowland.experiment.configuration import ExperimentConfig
from lowland.experiment.sweep import Pace, Plan, SweepCell
from lowland.report import read_experiment
from lowland.report.selection import Selection, average, score_run


class SeedsView:
    """Shows the seeds of an experiment as they come and go.

    Args:
        progress: Shows the experiment.
        config: The experiment.
        plan: What is left of it, seed by seed.
    """

    def __init__(self, progress: ExperimentProgress, config: ExperimentConfig, plan: Plan) -> None:
        self._progress = progress
        self._pace = Pace(plan)
        self._ended, self._seeds = len(config.seeds) - len(plan.cells), len(config.seeds)
        self._line_at = time.monotonic()
        if self._ended:
            progress.on_note(f"{self._ended} of {self._seeds} seeds done before")

    def on_start(self, cell: SweepCell, what: str) -> None:
        """Says that a seed begins."""
        self._progress.on_note(f"seed {cell.config.seeds[0]}: started, log in {cell.log}")

    def on_end(self, cell: SweepCell, problem: str | None) -> None:
        """Says what the runs of a seed scored."""
        self._ended += 1
        text = f"failed. {problem}" if problem else _scores(cell)
        self._progress.on_note(f"[{self._ended}/{self._seeds}] seed {cell.config.seeds[0]}: {text}")

    def on_wait(self) -> None:
        """Moves the display, and prints a line now and then where there is none."""
        seconds = self._pace.seconds()
        left = "" if seconds is None else f"about {span(seconds)} left"
        line = time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES
        if line:
            self._line_at = time.monotonic()
        self._progress.show_share(self._pace.share, f"{self._ended} of {self._seeds} seeds", left, line)

    def on_stop(self) -> None:
        """Says what a stop waits for."""
        self._progress.on_note(STOPPING)


def _scores(cell: SweepCell) -> str:
    """Reads the mean scores of a seed's runs, at the step chosen on held-out data where there is any."""
    try:
        experiment = read_experiment(cell.path)
    except (OSError, UserError):  # of another seed: its own process says what is wrong, or is just writing
        return "done"
    parts = []
    for run in experiment.runs:
        if run.seed not in cell.config.seeds or run.arm not in cell.config.arms:
            continue
        scored = score_run(run, experiment.metrics, Selection.HELD_OUT)
        scored = scored or score_run(run, experiment.metrics, Selection.LAST_STEP)
        if scored is not None:
            parts.append(f"{NAMES[run.arm]} {average(scored[0], experiment.metrics):.1f}")
    return ", ".join(parts)
