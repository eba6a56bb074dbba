"""A training that may be interrupted at any moment and goes on bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator

from lowland.errors import UserError
from lowland.files import DamagedError, check_sums
from lowland.runs.directory import RunDirectory, now
from lowland.runs.environment import describe_environment, differences
from lowland.runs.guard import StopRequest
from lowland.train.log import StepReport
from lowland.train.loop import Training, TrainingError
from lowland.train.state import read_values

if TYPE_CHECKING:
    from lowland.comparison.progress import ExperimentProgress

SECONDS_BETWEEN_STATES = 15 * 60.0
"""A state is saved before every evaluation, and where these are rare, this often."""


class Resumable:
    """A training with its saved states, none of another directory's name: `restore` it, then `train`."""

    def __init__(
        self,
        training: Training,
        directory: RunDirectory,
        accelerator: Accelerator,
        progress: ExperimentProgress,
        stop: StopRequest,
    ) -> None:
        self.environment = describe_environment()  # in which the run was begun
        self.best: Sequence[float] | None = None  # held-out score and step of the best checkpoint so far
        self._training, self._directory, self._accelerator = training, directory, accelerator
        self._progress, self._stop = progress, stop
        self._saved: int | None = None  # the step of the newest state
        self._saved_at = time.monotonic()

    @property
    def best_step(self) -> set[int]:
        """The step of the best checkpoint so far, if there is one."""
        return set() if self.best is None else {int(self.best[1])}

    def restore(self) -> bool:
        """Puts training and logs where the newest undamaged state has them, if there is one."""
        newest = self._newest()
        if newest is None:
            return False
        saved = self._training.load(newest)
        self._accelerator.wait_for_everyone()  # until all have read it: later ones are removed
        self._directory.rewind(self._training.step, saved["logs"], saved["status"])
        self._saved, self._saved_at = self._training.step, time.monotonic()
        self._progress.on_run_note(f"resumes after step {self._training.step}")
        self.environment = saved["environment"]
        if torch.are_deterministic_algorithms_enabled():
            torch.set_num_threads(self.environment["threads"])
        if different := differences(self.environment, describe_environment()):
            self._progress.on_note(
                "The results can differ from those of an uninterrupted run in their last bits: "
                f"{'; '.join(different)}."
            )
        self.best = saved["values"]["best"]
        for step in self.best_step if self._accelerator.is_main_process else ():
            try:
                check_sums(self._directory.path / "checkpoints" / f"step-{step}")
            except DamagedError as error:
                self._progress.on_note(f"The best checkpoint so far is damaged and is not used: {error}")
                self.best = None
        return True

    def _newest(self) -> Path | None:
        path, states = self._directory.path, self._directory.states()
        for folder in states:
            try:
                saved = read_values(folder)["caller"]
            except DamagedError as error:
                self._progress.on_note(f"A saved state is damaged and is not used: {error}")
                continue
            if saved["settings"] != path.name:
                raise UserError(f"{folder} was saved under other settings. Remove {path} to begin anew.")
            if saved["processes"] != self._accelerator.num_processes:
                raise UserError(
                    f"{path} was begun by {saved['processes']} process(es). Go on with as many, or give "
                    "another directory with --out."
                )
            return folder
        if states:
            raise UserError(
                f"No saved state of {path} is undamaged. Restore one, or remove {path} to begin the run anew."
            )
        return None

    def train(self, on_log: Callable[[StepReport], None], evaluate: Callable[[int], None]) -> None:
        """Trains to the end; a stop saves the state, and breaks off an evaluation, to be done again."""

        def on_evaluation(step: int) -> None:
            self._save()
            with self._stop.at_once():
                if self._accelerator.is_main_process:
                    evaluate(step)
                self._accelerator.wait_for_everyone()

        try:
            finished = self._training.run(on_log, on_evaluation, self._asked_to_stop)
        except TrainingError as error:
            self._directory.update(state="failed", error=str(error), finished=now())
            raise
        if not finished:
            self._save()
            raise KeyboardInterrupt

    def _asked_to_stop(self) -> bool:
        """Saves where it is time; tells whether to stop. All processes do what one of them wants to."""
        asked, late = self._stop(), time.monotonic() - self._saved_at > SECONDS_BETWEEN_STATES
        if self._accelerator.num_processes > 1:
            wishes = torch.tensor([float(asked), float(late)], device=self._accelerator.device)
            asked, late = (bool(wish > 0) for wish in self._accelerator.reduce(wishes, "sum"))
        if late:
            self._save()
        return asked

    def _save(self) -> None:
        # A step has one state, from before its evaluation.
        if self._saved == self._training.step:
            return
        saved = {
            "values": {"best": self.best},
            "logs": self._directory.logs(),
            "status": dict(self._directory.live_status),
            "settings": self._directory.path.name,
            "processes": self._accelerator.num_processes,
            "environment": self.environment,
        }
        self._directory.save_state(self._training.step, lambda folder: self._training.save(folder, saved))
        self._saved, self._saved_at = self._training.step, time.monotonic()
        self._directory.keep_checkpoints(self.best_step)
