"""Curves of runs in TensorBoard, Weights & Biases or trackio, by Accelerate's trackers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType
from rich.console import Console

from lowland.comparison.progress import ExperimentProgress
from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError

if TYPE_CHECKING:
    from lowland.train.log import StepReport


class TrackedProgress(ExperimentProgress):
    """Shows how an experiment goes, and logs every run to a tracker, where arms and seeds are runs.

    The name of the experiment's directory is the project's; TensorBoard's files go to `tensorboard/` in it.

    Raises:
        UserError: If the tracker is not installed.
    """

    def __init__(self, console: Console, config: ExperimentConfig, path: Path, tracker: str) -> None:
        if LoggerType(tracker) not in get_available_trackers():
            raise UserError(f"--tracker {tracker}: it is not installed. Type: pip install {tracker}")
        super().__init__(console, config, path)
        self._kind = tracker
        self._tracker: Any = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()
        super().__exit__(kind, error, trace)

    def on_run(self, arm: str, seed: int, done: bool) -> None:
        """Turns to the next run; one that is done was logged when it was trained."""
        super().on_run(arm, seed, done)
        self._finish()
        if done:
            return
        name, made = f"{arm}-seed{seed}", LOGGER_TYPE_TO_CLASS[self._kind]
        if self._kind == "tensorboard":
            self._tracker = made(name, logging_dir=str(self._path / "tensorboard"))
        else:
            self._tracker = made(self._path.name, name=name)
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
