"""One run: one arm and seed, from the loaded model to its scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator

from lowland.config.experiment import RunConfig
from lowland.evaluate import evaluate_sets, write_predictions
from lowland.models.save import save_model, weights_sha256
from lowland.report.runs import Sets
from lowland.report.selection import mean_score
from lowland.runs.directory import RunDirectory
from lowland.runs.examples import Parts
from lowland.runs.guard import StopRequest
from lowland.runs.health import Health
from lowland.runs.prepared import Prepared, processes, start_model
from lowland.runs.resumable import Resumable
from lowland.tasks.base import Task
from lowland.train.log import StepReport
from lowland.train.loop import Training, TrainingError
from lowland.train.machine import keep_freed_memory, resolve_precision
from lowland.train.seeds import seed_dropout

if TYPE_CHECKING:
    from lowland.comparison.progress import ExperimentProgress


def run(
    config: RunConfig,
    directory: RunDirectory,
    prepared: Prepared,
    progress: ExperimentProgress,
    stop: StopRequest,
) -> None:
    """Trains and scores one arm and seed, from its last saved state on, bit for bit; writes why it failed."""
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
    )
    health = Health(directory, config, progress.on_note)
    resumable = Resumable(training, directory, accelerator, progress, stop)
    if not resumable.restore():
        directory.start(config.to_toml(), resumable.environment, settings.steps)
        directory.warn([*data.warnings, *encodings.warnings, *parted.warnings])
        seed_dropout(seed, accelerator.process_index)
    health.read_again()

    def on_log(report: StepReport) -> None:
        directory.log(report)
        progress.on_log(report)
        health.on_log(report)

    def score(step: int, split: str, scorers: Mapping[str, Task], examples: Parts) -> Sets:
        # The labels of each set's task are those of its training.
        of_train = {name: task for name, task in scorers.items() if task.name in data.train}
        results = evaluate_sets(
            family,
            scorers,
            examples,
            input_length=settings.input_length,
            target_length=settings.target_length,
            bf16=bf16,
            labels={name: task.labels(data.train[task.name]) for name, task in of_train.items()},
        )
        for name, result in results.items():
            directory.evaluation(name, step, split, result.metrics, result.examples, result.seconds)
            if split == "evaluation":
                path = directory.path / "predictions" / f"{name}-{step}.jsonl"
                write_predictions(path, examples[name], result.predictions)
                health.say(result.warnings)
                if step == settings.steps:  # early in a training that is no cause for alarm
                    health.on_predictions(name, examples[name], result.predictions)
        return {name: result.metrics for name, result in results.items()}

    def evaluate(step: int) -> None:
        with training.averaged():
            scores = score(step, "evaluation", data.scorers, data.evaluation)
            held_out = score(step, "held_out", data.tasks, parted.held_out)
            directory.update(evaluated=step)
            mean = mean_score(held_out) if held_out else None
            better = mean is not None and (resumable.best is None or mean > resumable.best[0])
            if better or step == settings.steps:
                # The one that was best until now is removed only when a state no longer needs it.
                save_model(family.loaded, directory.path / "checkpoints" / f"step-{step}", overwrite=True)
            if mean is not None and better:
                resumable.best = (mean, step)
        progress.on_scores(step, scores)

    try:
        resumable.train(on_log, evaluate)
    except TrainingError as error:
        progress.on_run_note(f"failed. {error}")
        return
    health.on_end(training.skipped)
    directory.keep_checkpoints({*resumable.best_step, settings.steps})
    directory.finish(weights_sha256=weights_sha256(model), realised_rates=batches.realised_rates())
    accelerator.wait_for_everyone()
