"""One run: one arm and seed, from the loaded model to its scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from statistics import fmean
from typing import Protocol

import torch
from accelerate import Accelerator, PartialState

from lowland.config.experiment import RunConfig
from lowland.evaluate import evaluate_sets, write_predictions
from lowland.families.base import Family
from lowland.files import DamagedError, check_sums
from lowland.models import save_model, weights_sha256
from lowland.runs.directory import RunDirectory
from lowland.runs.encodings import Encodings
from lowland.runs.examples import ExperimentData, SeedData
from lowland.runs.guard import StopRequest
from lowland.runs.health import Health
from lowland.runs.replay import keep_step
from lowland.runs.resumable import Listener, Resumable
from lowland.runs.start import start_model
from lowland.tasks.base import Example, Task
from lowland.train import (
    StepReport,
    Training,
    TrainingError,
    keep_freed_memory,
    resolve_precision,
    seed_dropout,
)


class Observer(Listener, Protocol):
    """What is told of a run while it goes on."""

    def on_log(self, report: StepReport) -> None:
        """Called at every line of the training log."""

    def on_scores(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Called after an evaluation, with evaluation set -> metric -> value."""

    def on_failure(self, arm: str, seed: int, sentence: str) -> None:
        """Called when a run could not go on; the others do."""


def processes() -> PartialState:
    """Gives the processes that train together: those that torchrun started, or this one alone."""
    # While the first process evaluates, the others wait, which may take longer than the usual half hour.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))


def mean_score(scores: Mapping[str, Mapping[str, float]]) -> float:
    """Averages the metrics of each set, then the sets, as the paper does; undefined scores are worst."""
    mean = fmean(fmean(metrics.values()) for metrics in scores.values())
    return mean if math.isfinite(mean) else -math.inf


class Evaluator:
    """Scores a model at a step, logs the scores, and keeps the checkpoints worth keeping.

    Kept are the last checkpoint and the one that is best on the held-out examples.

    Args:
        config: The run's settings.
        directory: The run.
        data: All examples.
        held_out: Task name -> held-out examples.
        bf16: Whether to generate under bf16 autocast.
        health: Looks at the predictions.
    """

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        data: ExperimentData,
        held_out: Mapping[str, Sequence[Example]],
        bf16: bool,
        health: Health,
    ) -> None:
        self._config = config
        self._directory = directory
        self._data = data
        self._held_out = held_out
        self._bf16 = bf16
        self._health = health
        self.best: Sequence[float] | None = None  # held-out score and step of the best kept checkpoint

    def __call__(self, family: Family, step: int) -> dict[str, Mapping[str, float]]:
        """Scores the model; returns evaluation set -> metric -> value."""
        scores = self._score(family, step, "evaluation", self._data.scorers, self._data.evaluation)
        held_out = self._score(family, step, "held_out", self._data.tasks, self._held_out)
        self._directory.update(evaluated=step)
        self._keep(family, step, mean_score(held_out) if held_out else None)
        return scores

    def _score(
        self,
        family: Family,
        step: int,
        split: str,
        scorers: Mapping[str, Task],
        examples: Mapping[str, Sequence[Example]],
    ) -> dict[str, Mapping[str, float]]:
        settings = self._config.train
        results = evaluate_sets(
            family,
            scorers,
            examples,
            input_length=settings.input_length,
            target_length=settings.target_length,
            bf16=self._bf16,
            labels=self._labels(scorers),
        )
        for name, result in results.items():
            self._directory.evaluation(name, step, split, result.metrics, result.examples, result.seconds)
            if split == "evaluation":
                path = self._directory.path / "predictions" / f"{name}-{step}.jsonl"
                write_predictions(path, examples[name], result.predictions)
                self._health.say(result.warnings)
                self._health.on_predictions(name, step, examples[name], result.predictions)
        return {name: result.metrics for name, result in results.items()}

    def _labels(self, scorers: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
        """Gives the labels of each set's task, which are those of its training."""
        trained = self._data.train
        return {
            name: task.labels(trained[task.name]) for name, task in scorers.items() if task.name in trained
        }

    def _keep(self, family: Family, step: int, score: float | None) -> None:
        better = score is not None and (self.best is None or score > self.best[0])
        if not better and step != self._config.train.steps:
            return
        # The one that was best until now is removed only when a state no longer needs it.
        save_model(family.loaded, self._directory.checkpoint(step), overwrite=True)
        if better and score is not None:
            self.best = (score, step)

    def go_on(self, best: Sequence[float] | None, on_note: Callable[[str], None]) -> None:
        """Takes over the best checkpoint of an interrupted run, if it is as it was written."""
        if best is not None and processes().is_main_process:
            try:
                check_sums(self._directory.checkpoint(int(best[1])))
            except DamagedError as error:
                on_note(f"The best checkpoint so far is damaged and is not used: {error}")
                best = None
        self.best = best

    @property
    def best_step(self) -> set[int]:
        """The step of the best kept checkpoint, if there is one."""
        return set() if self.best is None else {int(self.best[1])}


def run(
    config: RunConfig,
    directory: RunDirectory,
    data: ExperimentData,
    parted: SeedData,
    encodings: Encodings,
    observer: Observer,
    stop: StopRequest,
) -> str | None:
    """Trains and scores one arm and seed, and writes everything to its directory.

    A run that was interrupted goes on from its last saved state, bit for bit as if it had not been.

    Args:
        config: The run's settings.
        directory: Where to; it names arm and seed.
        data: All examples.
        parted: The seed's own.
        encodings: Token ids of all training examples.
        observer: Is told how it goes.
        stop: Asked after every step whether to stop, with the state saved; an evaluation is broken off.

    Returns:
        Why training could not go on, which the status says, too; `None` where the run came to its end.

    Raises:
        KeyboardInterrupt: If the user asked to stop.
    """
    settings, seed = config.train, directory.seed
    keep_freed_memory()
    precision = resolve_precision(settings.precision, processes().device)
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    family = start_model(config, data, seed)
    model = family.loaded.model
    model.to(accelerator.device)
    batches = encodings.batches(parted, settings.batch_size, seed, family)
    training = Training(
        model,
        batches,
        family.loss,
        settings=settings,
        sam=config.sam,
        accelerator=accelerator,
        bf16=precision == "bf16",
        on_failure=lambda failed: keep_step(failed, model, directory.path),
    )
    health = Health(directory, config, observer.on_note)
    evaluate = Evaluator(config, directory, data, parted.held_out, precision == "bf16", health)
    resumable = Resumable(
        training,
        directory,
        directory.path.name,
        accelerator,
        observer,
        stop,
        values=lambda: {"best": evaluate.best},
        on_saved=lambda: directory.keep_checkpoints(evaluate.best_step),
        deterministic=settings.deterministic,
    )
    saved = resumable.restore()
    if saved is None:
        directory.start(config.to_toml(), resumable.environment, settings.steps)
        directory.warn([*data.warnings, *encodings.warnings, *parted.warnings])
        seed_dropout(seed, accelerator.process_index)
    else:
        evaluate.go_on(saved["best"], observer.on_note)
    health.begin()

    def on_log(report: StepReport) -> None:
        directory.log(report)
        observer.on_log(report)
        health.on_log(report)

    def score(step: int) -> None:
        with training.averaged():
            observer.on_scores(step, evaluate(family, step))

    try:
        with resumable:
            finished = training.run(on_log, resumable.evaluation(score), resumable.asked_to_stop)
    except TrainingError as error:
        observer.on_failure(directory.arm, seed, str(error))
        return str(error)
    if not finished:
        raise KeyboardInterrupt
    health.end(training.skipped)
    directory.keep_checkpoints({*evaluate.best_step, settings.steps})
    directory.finish(weights_sha256=weights_sha256(model), realised_rates=batches.realised_rates())
    accelerator.wait_for_everyone()
    return None
