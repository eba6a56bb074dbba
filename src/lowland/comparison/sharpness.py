"""The sharpness of an experiment's finished runs, on training examples and on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from lowland.config.experiment import ExperimentConfig
from lowland.config.outcomes import SharpnessSettings
from lowland.data import EncodedExample
from lowland.families.base import Family, Start
from lowland.families.recognise import load_family
from lowland.files import SUMS, fingerprint, finite, sha256
from lowland.runs.directory import RunDirectory, agrees, step_of, write_json
from lowland.runs.examples import ExperimentData, Parts, load_data, part
from lowland.runs.prepared import processes
from lowland.sharpness import Objective, rises, top_eigenvalue
from lowland.tasks.base import Task
from lowland.train.seeds import derive_seed

FOLDER = "sharpness"


def finished_runs(path: Path, config: ExperimentConfig) -> list[RunDirectory]:
    """Lists the finished runs of an experiment, seed by seed."""
    runs = [RunDirectory(path, arm, seed) for seed in config.seeds for arm in config.arms]
    return [run for run in runs if run.done and run.checkpoints()]


def measure_all(
    config: ExperimentConfig,
    runs: Sequence[RunDirectory],
    folder: Path,
    settings: SharpnessSettings,
    on_start: Callable[[RunDirectory, bool], None],
) -> None:
    """Measures the last step of runs; `on_start` is told before each whether its file is there already."""
    data = load_data(config.data)
    train = config.train
    which = [asdict(config.data), train.input_length, train.target_length, train.z_loss]
    for run in runs:
        file, checkpoint = folder / f"{run.path.name}.json", run.checkpoints()[-1]
        identity = {
            "arm": run.arm,
            "seed": run.seed,
            "step": step_of(checkpoint),
            "checkpoint": sha256(checkpoint / SUMS),
            "settings": {**asdict(settings), "radii": list(settings.radii)},
            "examples": fingerprint(which),
        }
        done = agrees(file, identity)
        on_start(run, done)
        if not done:
            write_json(file, identity | {"splits": finite(_measure(config, data, run, settings))})


def _measure(
    config: ExperimentConfig, data: ExperimentData, run: RunDirectory, settings: SharpnessSettings
) -> dict[str, Any]:
    """Measures a model in fp32 and without dropout; gives split -> figures."""
    own = config.of(run.arm)
    # Adapters that can be trained, as they were.
    start = Start(tasks={}, seed=run.seed) if own.lora is not None else None
    family = load_family(str(run.checkpoints()[-1]), own.family, start=start, hub=config.data.hub)
    model = family.loaded.model.to(processes().device, torch.float32).eval()
    model.set_attn_implementation("eager")  # fused kernels cannot be differentiated twice
    parted = part(data, config.data, run.seed)
    splits = {"train": (data.tasks, parted.train), "held_out": (data.tasks, parted.held_out)}
    if not parted.held_out:
        splits = {"train": (data.tasks, parted.train), "evaluation": (data.scorers, data.evaluation)}
    found = {}
    for name, (tasks, examples) in splits.items():
        objective, few = _objectives(family, config, tasks, examples, settings)
        loss, gradient = objective.gradient()
        climbs = [rises(batch, settings.radii) for batch in objective.parts()]
        found[name] = {
            "examples": min(settings.examples, sum(map(len, examples.values()))),
            "loss": loss,
            "gradient_norm": float(gradient.double().norm()),
            "rises": [[radius, fmean(rise[radius] for rise in climbs)] for radius in settings.radii],
            "eigenvalue": None if few is None else top_eigenvalue(few, settings.seed),
        }
    return found


def _objectives(
    family: Family,
    config: ExperimentConfig,
    tasks: Mapping[str, Task],
    examples: Parts,
    settings: SharpnessSettings,
) -> tuple[Objective, Objective | None]:
    """Makes the training loss over examples drawn from all tasks together, and over the first few of them."""
    everything = [(tasks[name], example) for name in sorted(examples) for example in examples[name]]
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "sharpness"))
    chosen = torch.randperm(len(everything), generator=generator)[: settings.examples].tolist()
    encoded = []
    for task, example in (everything[number] for number in chosen):
        inputs = config.train.input_length or task.input_length
        targets = config.train.target_length or task.target_length
        encoded.append(family.encode([example], inputs, targets)[0])
    loss = family.loss(family.loaded.model.device, z_loss=config.train.z_loss)

    def over(some: Sequence[EncodedExample]) -> Objective:
        size = settings.batch_size
        batches = [family.collate(some[at : at + size]) for at in range(0, len(some), size)]
        counts = [float(family.count(batch)) for batch in batches]
        return Objective(loss, family.loaded.model.parameters(), batches, counts)

    few = encoded[: settings.hessian_examples]
    return over(encoded), over(few) if few else None
