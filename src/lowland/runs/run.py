"""One run: one arm and seed, from the loaded model to its scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

import torch
from accelerate import Accelerator

from lowland.config.experiment import RunConfig
from lowland.evaluate import evaluate_sets, write_predictions
from lowland.families.base import Family
from lowland.models.save import save_model, weights_sha256
from lowland.runs.directory import RunDirectory
from lowland.runs.examples import ExperimentData, Parts
from lowland.runs.guard import StopRequest
from lowland.runs.health import Health, find_cause
from lowland.runs.prepared import Prepared, processes, start_model
from lowland.runs.resumable import Observer, Resumable
from lowland.tasks.base import Task
from lowland.train.log import StepReport
from lowland.train.loop import Training, TrainingError
from lowland.train.machine import keep_freed_memory, resolve_precision
from lowland.train.seeds import seed_dropout


def mean_score(scores: Mapping[str, Mapping[str, float]]) -> float:
    """Averages the metrics of each set, then the sets, as the paper does; undefined scores are worst."""
    mean = fmean(fmean(metrics.values()) for metrics in scores.values())
    return mean if math.isfinite(mean) else -math.inf


class Evaluator:
    """Scores a model at a step, and logs scores and predictions."""

    def __init__(
        self, config: RunConfig, directory: RunDirectory, data: ExperimentData, bf16: bool, health: Health
    ) -> None:
        self._config, self._directory, self._data = config, directory, data
        self._bf16, self._health = bf16, health

    def __call__(
        self, family: Family, step: int, split: str, scorers: Mapping[str, Task], examples: Parts
    ) -> dict[str, Mapping[str, float]]:
        """Scores the model on the sets of a split; returns set -> metric -> value."""
        settings, trained = self._config.train, self._data.train
        results = evaluate_sets(
            family,
            scorers,
            examples,
            input_length=settings.input_length,
            target_length=settings.target_length,
            bf16=self._bf16,
            # The labels of each set's task are those of its training.
            labels={
                name: task.labels(trained[task.name])
                for name, task in scorers.items()
                if task.name in trained
            },
        )
        for name, result in results.items():
            self._directory.evaluation(name, step, split, result.metrics, result.examples, result.seconds)
            if split == "evaluation":
                path = self._directory.path / "predictions" / f"{name}-{step}.jsonl"
                write_predictions(path, examples[name], result.predictions)
                self._health.say(result.warnings)
                if step == settings.steps:  # early in a training that is no cause for alarm
                    self._health.on_predictions(name, examples[name], result.predictions)
        return {name: result.metrics for name, result in results.items()}


def run(
    config: RunConfig, directory: RunDirectory, prepared: Prepared, observer: Observer, stop: StopRequest
) -> None:
    """Trains and scores one arm and seed, and writes everything to its directory, also why it failed.

    A run that was interrupted goes on from its last saved state, bit for bit as if it had not been.

    Raises:
        KeyboardInterrupt: If the user asked to stop: after the step, with the state saved; an evaluation is
            broken off.
    """
    settings, seed, data = config.train, directory.seed, prepared.data
    parted, encodings = prepared.parts[seed], prepared.encodings[directory.arm]
    keep_freed_memory()
    bf16 = resolve_precision(settings.precision, processes().device) == "bf16"
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
        bf16=bf16,
        on_failure=lambda batch: find_cause(
            batch, family, bf16=bf16, z_loss=settings.z_loss, label_smoothing=settings.label_smoothing
        ),
    )
    health = Health(directory, config, observer.on_note)
    evaluate = Evaluator(config, directory, data, bf16, health)
    resumable = Resumable(training, directory, accelerator, observer, stop)
    if not resumable.restore():
        directory.start(config.to_toml(), resumable.environment, settings.steps)
        directory.warn([*data.warnings, *encodings.warnings, *parted.warnings])
        seed_dropout(seed, accelerator.process_index)
    health.read_again()

    def on_log(report: StepReport) -> None:
        directory.log(report)
        observer.on_log(report)
        health.on_log(report)

    def score(step: int) -> None:
        with training.averaged():
            scores = evaluate(family, step, "evaluation", data.scorers, data.evaluation)
            held_out = evaluate(family, step, "held_out", data.tasks, parted.held_out)
            directory.update(evaluated=step)
            mean = mean_score(held_out) if held_out else None
            better = mean is not None and (resumable.best is None or mean > resumable.best[0])
            if better or step == settings.steps:
                # The one that was best until now is removed only when a state no longer needs it.
                save_model(family.loaded, directory.checkpoint(step), overwrite=True)
            if mean is not None and better:
                resumable.best = (mean, step)
        observer.on_scores(step, scores)

    try:
        resumable.train(on_log, score)
    except TrainingError as error:
        observer.on_failure(str(error))
        return
    health.on_end(training.skipped)
    directory.keep_checkpoints({*resumable.best_step, settings.steps})
    directory.finish(weights_sha256=weights_sha256(model), realised_rates=batches.realised_rates())
    accelerator.wait_for_everyone()
