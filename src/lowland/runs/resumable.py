"""A training that may be interrupted at any moment and goes on bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from lowland.errors import UserError
from lowland.runs.directory import RunDirectory, now
from lowland.runs.environment import describe_environment, differences
from lowland.runs.guard import StopRequest
from lowland.train import DamagedStateError, Training, TrainingError, read_values

SECONDS_BETWEEN_STATES = 15 * 60.0
"""A state is saved before every evaluation, and where these are rare, this often."""


class Listener(Protocol):
    """What is told of how a run goes on."""

    def on_resume(self, step: int) -> None:
        """Called when an interrupted run goes on after a step."""

    def on_note(self, sentence: str) -> None:
        """Called with something that the user should know."""


class Resumable:
    """A training with its saved states.

        with resumable:
            training.run(on_log, resumable.evaluation(evaluate), resumable.asked_to_stop)

    Args:
        training: The training, at its beginning.
        directory: Its run directory; that of the first process writes.
        settings: What decides the run, as a name; states of another one are refused.
        accelerator: The processes that train together.
        listener: Is told how the run goes on.
        stop: Whether the user asked to stop.
        values: Gives plain JSON values of the caller's own, which are saved with every state.
        on_saved: Called after a state was saved.
        deterministic: Whether a run goes on with the number of threads with which it was begun.

    Attributes:
        environment: The environment in which the run was begun.
    """

    def __init__(
        self,
        training: Training,
        directory: RunDirectory,
        settings: str,
        accelerator: Accelerator,
        listener: Listener,
        stop: StopRequest,
        *,
        values: Callable[[], dict[str, Any]] = dict,
        on_saved: Callable[[], None] = lambda: None,
        deterministic: bool = False,
    ) -> None:
        self.environment = describe_environment()
        self._training = training
        self._directory = directory
        self._settings = settings
        self._accelerator = accelerator
        self._listener = listener
        self._stop = stop
        self._values = values
        self._on_saved = on_saved
        self._deterministic = deterministic
        self._saved: int | None = None  # the step of the newest state
        self._saved_at = time.monotonic()

    def restore(self) -> dict[str, Any] | None:
        """Puts training and logs where the newest undamaged state has them.

        Returns:
            The caller's values; `None` if there is nothing to go on from.

        Raises:
            UserError: If there are states, and none of them can be used.
        """
        # The first process chooses for all, and all have read the state before anything is removed.
        choice: list[Path | str | None] = [None]
        if self._accelerator.is_main_process:
            try:
                choice = [self._newest()]
            except UserError as error:
                choice = [str(error)]
        broadcast_object_list(choice)
        if isinstance(choice[0], str):
            raise UserError(choice[0])
        if choice[0] is None:
            return None
        saved = self._training.load(choice[0])
        self._accelerator.wait_for_everyone()
        self._directory.rewind(self._training.step, saved["logs"], saved["status"])
        self._saved, self._saved_at = self._training.step, time.monotonic()
        self._listener.on_resume(self._training.step)
        self.environment = saved["environment"]
        if self._deterministic:
            torch.set_num_threads(self.environment["threads"])
        if different := differences(self.environment, describe_environment()):
            self._listener.on_note(
                "The results can differ from those of an uninterrupted run in their last bits: "
                f"{'; '.join(different)}."
            )
        return dict(saved["values"])

    def _newest(self) -> Path | None:
        path, states = self._directory.path, self._directory.states()
        for folder in states:
            try:
                saved = read_values(folder)["caller"]
            except DamagedStateError as error:
                self._listener.on_note(f"A saved state is damaged and is not used: {error}")
                continue
            if saved["settings"] != self._settings:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Saves the state of a training that was asked to stop, or the error of one that cannot go on."""
        if isinstance(error, TrainingError):
            self._directory.update(state="failed", error=str(error), finished=now())
        elif error is None:
            self._save()

    def evaluation(self, evaluate: Callable[[int], None]) -> Callable[[int], None]:
        """Gives what saves the state and then evaluates, on the first process.

        An evaluation is broken off by `KeyboardInterrupt` where the user asks to stop, and done again when
        the run goes on.
        """

        def on_evaluation(step: int) -> None:
            self._save()
            with self._stop.at_once():
                if self._accelerator.is_main_process:
                    evaluate(step)
                self._accelerator.wait_for_everyone()

        return on_evaluation

    def asked_to_stop(self) -> bool:
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
            "values": self._values(),
            "logs": self._directory.logs(),
            "status": self._directory.live_status,
            "settings": self._settings,
            "processes": self._accelerator.num_processes,
            "environment": self.environment,
        }
        self._directory.save_state(self._training.step, lambda folder: self._training.save(folder, saved))
        self._saved, self._saved_at = self._training.step, time.monotonic()
        self._on_saved()
