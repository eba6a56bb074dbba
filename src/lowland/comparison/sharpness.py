"""The sharpness of an experiment's finished runs, on training examples and on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lowland.config.experiment import ExperimentConfig
from lowland.config.sharpness import SharpnessSettings
from lowland.data import EncodedExample
from lowland.families.base import Family, Start
from lowland.families.recognise import load_family
from lowland.files import fingerprint, finite
from lowland.models import weights_sha256
from lowland.runs.directory import RunDirectory, agrees, step_of, write_json
from lowland.runs.examples import ExperimentData, Parts, load_data, part
from lowland.runs.prepared import processes, start_model
from lowland.sharpness import Objective, climb, flat, losses_along, norm, top_eigenvalue, trace
from lowland.sharpness.hessian import estimate
from lowland.tasks.base import Task
from lowland.train import derive_seed

FOLDER = "sharpness"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A kept checkpoint of a finished run, by its directory."""

    arm: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """The stem of the file of its figures."""
        return f"{self.arm}-seed{self.seed}"


def find_checkpoints(path: Path, config: ExperimentConfig, *, best: bool) -> list[Checkpoint]:
    """Lists the last checkpoint of every finished run of an experiment, or the one chosen as best."""
    found = []
    for seed in config.seeds:
        for arm in config.arms:
            run = RunDirectory(path, arm, seed)
            # Kept are the best and the last; where these are one, there is one.
            if run.done and (folders := sorted(run.checkpoints(), key=step_of)):
                found.append(Checkpoint(arm=arm, seed=seed, folder=folders[0 if best else -1]))
    return found


def measure_all(
    config: ExperimentConfig,
    checkpoints: Sequence[Checkpoint],
    folder: Path,
    settings: SharpnessSettings,
    on_start: Callable[[Checkpoint, bool], None],
) -> None:
    """Measures checkpoints and writes a file of figures for each to a folder; those that are there are kept.

    Before each, `on_start` is told whether it was measured before.

    Raises:
        UserError: If data or a checkpoint cannot be read.
    """
    data = load_data(config.data)
    train = config.train
    which = [asdict(config.data), train.input_length, train.target_length, train.z_loss]
    for checkpoint in checkpoints:
        own = config.of(checkpoint.arm)
        # Adapters that can be trained, as they were.
        start = Start(tasks=dict, seed=checkpoint.seed) if own.lora is not None else None
        family = load_family(str(checkpoint.folder), own.family, start=start, hub=config.data.hub)
        file = folder / f"{checkpoint.name}.json"
        identity = {
            "arm": checkpoint.arm,
            "seed": checkpoint.seed,
            "step": step_of(checkpoint.folder),
            "weights_sha256": weights_sha256(family.loaded.model),
            "settings": {**asdict(settings), "radii": list(settings.radii)},
            "examples": fingerprint(which),
        }
        done = agrees(file, identity)
        on_start(checkpoint, done)
        if not done:
            begun = start_model(own, data, checkpoint.seed)
            figures = _measure(family, begun, config, data, checkpoint.seed, settings)
            write_json(file, identity | finite(figures))


def _measure(
    family: Family,
    begun: Family,
    config: ExperimentConfig,
    data: ExperimentData,
    seed: int,
    settings: SharpnessSettings,
) -> dict[str, Any]:
    """Measures a model that began as another, in fp32 and without dropout."""
    model = family.loaded.model.to(processes().device, torch.float32).eval()
    model.set_attn_implementation("eager")  # fused kernels cannot be differentiated twice
    weights, start = _trained(model), _trained(begun.loaded.model.to(model.device))
    figures: dict[str, Any] = {
        "weights": len(weights),
        "weight_norm": norm(weights),
        "distance": norm(weights - start),
        "splits": {},
    }
    parted = part(data, config.data, seed)
    splits = {"train": (data.tasks, parted.train), "held_out": (data.tasks, parted.held_out)}
    if not parted.held_out:
        splits = {"train": (data.tasks, parted.train), "evaluation": (data.scorers, data.evaluation)}
    for name, (tasks, examples) in splits.items():
        encoded = _draw(family, config, tasks, examples, settings)
        few = encoded[: settings.hessian_examples]
        figures["splits"][name] = {
            "examples": len(encoded),
            **_flatness(_objective(family, config, encoded, settings.batch_size), settings),
            **_curvature(_objective(family, config, few, settings.batch_size) if few else None, settings),
        }
    return figures


def _trained(model: nn.Module) -> Tensor:
    return flat([parameter for parameter in model.parameters() if parameter.requires_grad])


def _flatness(objective: Objective, settings: SharpnessSettings) -> dict[str, Any]:
    """Measures the loss, its rise in each batch, and itself along the ascent's direction."""
    loss, gradient = objective.gradient()
    length, reach = norm(gradient), max(settings.radii)
    climbs = [climb(batch, settings.radii, settings.steps) for batch in objective.parts()]
    places = [reach * point / settings.points for point in range(-settings.points, settings.points + 1)]
    along = losses_along(objective, gradient / (length or 1.0), places)
    return {
        "loss": loss,
        "gradient_norm": length,
        "ascent": [
            {"radius": radius, "steps": steps, **asdict(estimate([rises[radius, steps] for rises in climbs]))}
            for radius, steps in climbs[0]
        ],
        "line": {"distances": places, "losses": along},
    }


def _curvature(objective: Objective | None, settings: SharpnessSettings) -> dict[str, Any]:
    """Measures the Hessian; `None` leaves it out."""
    if objective is None:
        return {"eigenvalue": None, "trace": None}
    return {
        "eigenvalue": top_eigenvalue(objective, settings.seed),
        "trace": asdict(trace(objective, settings.seed, settings.probes)),
    }


def _draw(
    family: Family,
    config: ExperimentConfig,
    tasks: Mapping[str, Task],
    examples: Parts,
    settings: SharpnessSettings,
) -> list[EncodedExample]:
    """Draws examples from all tasks together, each as likely, and encodes them."""
    everything = [(tasks[name], example) for name in sorted(examples) for example in examples[name]]
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "sharpness"))
    chosen = torch.randperm(len(everything), generator=generator)[: settings.examples].tolist()
    encoded = []
    for task, example in (everything[number] for number in chosen):
        inputs = config.train.input_length or task.input_length
        targets = config.train.target_length or task.target_length
        encoded.append(family.encode([example], inputs, targets)[0])
    return encoded


def _objective(
    family: Family, config: ExperimentConfig, encoded: Sequence[EncodedExample], size: int
) -> Objective:
    """Makes the training loss over examples, in batches of a size."""
    batches = [family.collate(encoded[i : i + size]) for i in range(0, len(encoded), size)]
    model = family.loaded.model
    return Objective(
        family.loss(model.device, z_loss=config.train.z_loss),
        model.parameters(),
        batches,
        [float(family.count(batch)) for batch in batches],
    )
