"""The sharpness of finished runs, or of any model, on examples of its tasks."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lowland.config.experiment import ExperimentConfig
from lowland.config.sharpness import SharpnessSettings
from lowland.data import EncodedExample
from lowland.families.base import Family, Start
from lowland.families.recognise import load_family
from lowland.files import fingerprint
from lowland.models import weights_sha256
from lowland.runs.directory import RunDirectory, step_of, write_json
from lowland.runs.examples import ExperimentData, load_data, part
from lowland.runs.run import processes
from lowland.runs.start import start_model
from lowland.sharpness import (
    Objective,
    climb,
    filter_normalised,
    losses_along,
    losses_on_plane,
    norm,
    top_eigenvalue,
    trace,
)
from lowland.sharpness.hessian import estimate
from lowland.sharpness.objective import scaled
from lowland.tasks.base import Example, Task
from lowland.train import derive_seed

FOLDER = "sharpness"
UP = 0.5
"""How far the plane reaches along the random direction, on which 1 is as far as the weights are long."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights to measure.

    Attributes:
        arm: An arm, `start` for the weights before training, or `model` for any model.
        seed: The seed whose examples are taken.
        step: Steps of training; `None` where that is not known.
        model: Where the weights are, for `load_model`.
    """

    arm: str
    seed: int
    step: int | None
    model: str

    @property
    def name(self) -> str:
        """The stem of the file of its figures."""
        return f"{self.arm}-seed{self.seed}"


def find_checkpoints(path: Path, config: ExperimentConfig, *, best: bool, start: bool) -> list[Checkpoint]:
    """Lists the checkpoints of an experiment's finished runs.

    Args:
        path: The experiment's directory.
        config: The experiment.
        best: Whether to take the checkpoint chosen on held-out examples instead of the last one.
        start: Whether to take the weights before training, too.
    """
    found = []
    for seed in config.seeds:
        here = []
        for arm in config.arms:
            run = RunDirectory(path, arm, seed)
            folders = run.checkpoints() if run.done else []
            steps = sorted((step_of(folder), str(folder)) for folder in folders)
            if steps:
                # Kept are the best and the last; where these are one, there is one.
                step, folder = steps[0] if best else steps[-1]
                here.append(Checkpoint(arm=arm, seed=seed, step=step, model=folder))
        if here and start:
            here.insert(0, Checkpoint(arm="start", seed=seed, step=0, model=config.model))
        found += here
    return found


def measure_all(
    config: ExperimentConfig,
    checkpoints: Sequence[Checkpoint],
    folder: Path,
    settings: SharpnessSettings,
    on_start: Callable[[Checkpoint, bool], None],
) -> None:
    """Measures checkpoints and writes a file of figures for each; those that are there are kept.

    Args:
        config: The experiment, or what stands for one around a single model.
        checkpoints: What to measure.
        folder: Where to.
        settings: What to measure of them.
        on_start: Is told of each, and whether it was measured before.

    Raises:
        UserError: If data or a checkpoint cannot be read.
    """
    data = load_data(config.data)
    train, first = config.train, checkpoints[0].seed
    which = [dataclasses.asdict(config.data), train.input_length, train.target_length, train.z_loss]
    for checkpoint in checkpoints:
        own = settings if checkpoint.seed == first else dataclasses.replace(settings, grid=0)
        family = _load(config, data, checkpoint)
        file = folder / f"{checkpoint.name}.json"
        identity = {
            "arm": checkpoint.arm,
            "seed": checkpoint.seed,
            "step": checkpoint.step,
            "weights_sha256": weights_sha256(family.loaded.model),
            "settings": json.loads(json.dumps(dataclasses.asdict(own))),
            "examples": fingerprint(which),
        }
        done = _agrees(file, identity)
        on_start(checkpoint, done)
        if not done:
            begun = config.of(checkpoint.arm).model if checkpoint.arm in config.arms else config.model
            start = None if checkpoint.arm == "model" else begun
            write_json(file, identity | _measure(family, config, data, checkpoint.seed, own, start))


def _measure(
    family: Family,
    config: ExperimentConfig,
    data: ExperimentData,
    seed: int,
    settings: SharpnessSettings,
    start: str | None,
) -> dict[str, Any]:
    """Measures one model, in fp32 and without dropout; `start` is the model from which training started."""
    model = family.loaded.model.to(processes().device, torch.float32).eval()
    model.set_attn_implementation("eager")  # fused kernels cannot be differentiated twice
    weights = _trained(model)
    figures: dict[str, Any] = {
        "weights": sum(weight.numel() for weight in weights),
        "weight_norm": norm(weights),
        "distance": None,
        "splits": {},
        "plane": None,
    }
    if start is not None:
        begun = start_model(dataclasses.replace(config, model=start), data, seed).loaded.model
        pairs = zip(weights, _trained(begun.to(model.device)), strict=True)
        figures["distance"] = norm([weight.detach() - other for weight, other in pairs])
    for name, (tasks, examples) in _splits(config, data, seed, known=start is not None).items():
        encoded = _draw(family, config, tasks, examples, settings)
        whole = _objective(family, config, encoded, settings)
        few = encoded[: settings.hessian_examples or len(encoded)]
        small = _objective(family, config, few, settings)
        figures["splits"][name] = {
            "examples": len(encoded),
            **_flatness(whole, small if settings.hessian_examples else None, settings),
        }
        if name == "train" and settings.grid:
            figures["plane"] = _plane(small, settings)
    return figures


def _flatness(whole: Objective, few: Objective | None, settings: SharpnessSettings) -> dict[str, Any]:
    """Measures a loss: its rise in batches, its Hessian, and itself along the ascent's direction."""
    loss, gradient = whole.gradient()
    climbs = [climb(batch, settings.radii, settings.steps) for batch in whole.parts()]
    ascent = [
        {
            "radius": column[0].radius,
            "steps": column[0].steps,
            **_plain(estimate([found.rise for found in column])),
        }
        for column in zip(*climbs, strict=True)
    ]
    length = norm(gradient)
    reach = max(settings.radii)
    places = [reach * point / settings.points for point in range(-settings.points, settings.points + 1)]
    figures = {
        "loss": loss,
        "gradient_norm": length,
        "ascent": ascent,
        "line": {
            "distances": places,
            "losses": losses_along(whole, scaled(gradient, 1 / length if length else 0.0), places),
        },
        "eigenvalue": None,
        "trace": None,
    }
    if few is not None:
        figures["eigenvalue"] = _plain(top_eigenvalue(few, settings.seed))
        figures["trace"] = _plain(trace(few, settings.seed, settings.probes))
    return figures


def _plane(objective: Objective, settings: SharpnessSettings) -> dict[str, Any]:
    """Computes the loss on the plane of the ascent's direction and a random one."""
    _, gradient = objective.gradient()
    across = scaled(gradient, 1 / (norm(gradient) or 1.0))
    up = filter_normalised(objective.parameters, settings.seed)
    reach = max(settings.radii)
    steps = [2 * number / max(1, settings.grid - 1) - 1 for number in range(settings.grid)]
    columns, rows = [reach * step for step in steps], [UP * step for step in steps]
    return {
        "across": columns,
        "up": rows,
        "losses": losses_on_plane(objective, across, up, columns, rows),
    }


def _splits(
    config: ExperimentConfig, data: ExperimentData, seed: int, *, known: bool
) -> dict[str, tuple[Mapping[str, Task], Mapping[str, Sequence[Example]]]]:
    """Gives the examples that were trained on and others, with the tasks that know their lengths.

    Where a run held nothing out, or it is not known what a model was trained on, the others are the
    evaluation sets.
    """
    parted = part(data, config.data, seed)
    if known and parted.held_out:
        return {"train": (data.tasks, parted.train), "held_out": (data.tasks, parted.held_out)}
    train = parted.train if known else data.train
    return {"train": (data.tasks, train), "evaluation": (data.scorers, data.evaluation)}


def _draw(
    family: Family,
    config: ExperimentConfig,
    tasks: Mapping[str, Task],
    examples: Mapping[str, Sequence[Example]],
    settings: SharpnessSettings,
) -> list[EncodedExample]:
    """Draws examples from all tasks together, each as likely, and encodes them."""
    everything = [(name, example) for name in sorted(examples) for example in examples[name]]
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "sharpness"))
    chosen = torch.randperm(len(everything), generator=generator)[: settings.examples].tolist()
    encoded: list[EncodedExample] = []
    for name, example in (everything[number] for number in chosen):
        task, train = tasks[name], config.train
        inputs = train.input_length or task.input_length
        targets = train.target_length or task.target_length
        encoded.append(family.encode([example], inputs, targets)[0])
    return encoded


def _objective(
    family: Family,
    config: ExperimentConfig,
    encoded: Sequence[EncodedExample],
    settings: SharpnessSettings,
) -> Objective:
    """Makes the training loss over examples."""
    size = settings.batch_size
    batches = [family.collate(encoded[i : i + size]) for i in range(0, len(encoded), size)]
    model = family.loaded.model
    return Objective(
        family.loss(model.device, z_loss=config.train.z_loss),
        model.parameters(),
        batches,
        [float(family.count(batch)) for batch in batches],
    )


def _load(config: ExperimentConfig, data: ExperimentData, checkpoint: Checkpoint) -> Family:
    """Loads a checkpoint; the one before training is as the seed's runs began."""
    if checkpoint.arm == "start":
        return start_model(config, data, checkpoint.seed)
    start = Start(tasks=dict, seed=checkpoint.seed) if config.lora is not None else None
    return load_family(checkpoint.model, config.family, start=start, hub=config.data.hub)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _plain(figures: Any) -> dict[str, Any]:
    """Writes figures as JSON can hold them: nan becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in dataclasses.asdict(figures).items()
    }


def _agrees(file: Path, identity: Mapping[str, Any]) -> bool:
    """Tells whether a file holds the figures of the same weights by the same settings."""
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return identity.items() <= found.items()
    except (OSError, ValueError, AttributeError):
        return False
