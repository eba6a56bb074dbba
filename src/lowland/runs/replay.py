"""A step at which training stopped, computed again: which example and which layer it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lowland.config.experiment import RunConfig
from lowland.config.layers import build_section, read_layer
from lowland.errors import UserError
from lowland.families.base import Family
from lowland.runs.directory import RunDirectory
from lowland.runs.start import start_model
from lowland.train import Failure, Training, load_failure, resolve_precision, restore_streams

FOLDER = "non-finite"


@dataclass(frozen=True, kw_only=True)
class ReplayedExample:
    """One example of the batch.

    Attributes:
        inputs: Its input text, as far as the model sees it.
        targets: Its target text.
        loss: Its loss at w, without dropout.
    """

    inputs: str
    targets: str
    loss: float


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A step computed again.

    Attributes:
        step: The step.
        arm: The arm's name.
        recorded: Loss and gradient norm as they were in training.
        loss: The loss as it is now, from the same weights, examples and random stream.
        gradient_norm: The gradient's norm as it is now.
        weights: Names of weights that are not finite already before the step.
        module: The first module whose output is not finite, in the order of computing; `None` if there is
            none at w without dropout.
        examples: The examples, those that are not finite first, then by falling loss.
        fp32_loss: The loss in fp32, where training computes in bf16.
    """

    step: int
    arm: str
    recorded: tuple[float, float]
    loss: float
    gradient_norm: float
    weights: tuple[str, ...]
    module: str | None
    examples: tuple[ReplayedExample, ...]
    fp32_loss: float | None

    @property
    def same(self) -> bool:
        """Whether the step came out as it was in training, bit for bit."""
        now = (self.loss, self.gradient_norm)
        return all(a == b or (a != a and b != b) for a, b in zip(now, self.recorded, strict=True))


def find_failure(directory: Path) -> Path:
    """Finds the folder of a step that was kept: the folder itself, that of a run, or of an experiment.

    Raises:
        UserError: If there is none.
    """
    if (directory / "step.json").is_file():
        return directory
    found = [*directory.glob(f"{FOLDER}/step-*"), *directory.glob(f"*/{FOLDER}/step-*")]
    if not found:
        raise UserError(
            f"{directory}: no step is kept here; one is where a run stopped because its loss or gradient was "
            f"not finite, in the run's folder {FOLDER}."
        )
    return sorted(found)[0]


def replay(folder: Path) -> Replay:
    """Computes a step again.

    Args:
        folder: The step's folder, in the directory of its run.

    Returns:
        What came out.

    Raises:
        UserError: If the folder or the run's settings cannot be read.
    """
    run = folder.absolute().parents[1]
    config = build_section(RunConfig, read_layer(run / "config.toml"))
    device = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available()).device
    bf16 = resolve_precision(config.train.precision, device) == "bf16"
    family = start_model(config, None, int(run.name.rpartition("-seed")[2]))
    model = family.loaded.model
    failure = load_failure(folder, model)
    model.to(device)
    loss, norm = _step(family, config, failure, bf16)
    model.eval()
    examples = []
    for row in range(len(failure.batch["labels"])):
        one = {name: column[row : row + 1] for name, column in failure.batch.items()}
        inputs, targets = family.texts({name: column[0] for name, column in one.items()})
        found = _loss(family, one, config, device, bf16)
        examples.append(ReplayedExample(inputs=inputs, targets=targets, loss=found))
    examples.sort(key=lambda example: -example.loss if math.isfinite(example.loss) else -math.inf)
    with _first_non_finite(model) as names:
        _loss(family, failure.batch, config, device, bf16)
    return Replay(
        step=failure.step,
        arm=str(
            RunDirectory(run.parent, "", 0, name=run.name)
            .status()
            .get("arm", run.name.rpartition("-seed")[0])
        ),
        recorded=(failure.loss, failure.gradient_norm),
        loss=loss,
        gradient_norm=norm,
        weights=tuple(name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())),
        module=names[0] if names else None,
        examples=tuple(examples),
        fp32_loss=_loss(family, failure.batch, config, device, bf16=False) if bf16 else None,
    )


class _OneBatch:
    """A stream of one batch."""

    def __init__(self, batch: dict[str, Tensor]) -> None:
        self.batch = batch

    def __next__(self) -> dict[str, Tensor]:
        return self.batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


def _step(family: Family, config: RunConfig, failure: Failure, bf16: bool) -> tuple[float, float]:
    """Computes loss and gradient norm as the training did; gradients of the past are not kept."""
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    settings = replace(config.train, steps=max(config.train.steps, failure.step))
    training = Training(
        family.loaded.model,
        _OneBatch(dict(failure.batch)),
        family.loss,
        settings=settings,
        sam=config.sam,
        accelerator=accelerator,
        bf16=bf16,
    )
    training.step = failure.step - 1
    family.loaded.model.train()
    restore_streams(failure.streams)
    info, norm = training.gradient(dict(failure.batch))
    return float(info.loss), norm


def _loss(
    family: Family, batch: Mapping[str, Tensor], config: RunConfig, device: torch.device, bf16: bool
) -> float:
    with torch.no_grad():
        return float(family.loss(device, bf16=bf16, z_loss=config.train.z_loss)(batch))


@contextmanager
def _first_non_finite(model: nn.Module) -> Iterator[list[str]]:
    """Collects the names of modules whose output is not finite, in the order in which they compute."""
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, tuple) else (output,)
            if any(isinstance(t, Tensor) and not bool(t.isfinite().all()) for t in tensors):
                found.append(name)

        return hook

    # Modules without parts come first: the innermost one names the place best.
    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
