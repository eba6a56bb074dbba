"""A step at which training stopped: kept, and computed again to find the example and layer it comes from."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from lowland.config.experiment import RunConfig
from lowland.config.layers import build_section, read_layer
from lowland.errors import UserError
from lowland.families.base import Family
from lowland.runs.start import start_model
from lowland.sam import SAMGradient
from lowland.train import resolve_precision
from lowland.train.gradients import build_gradient, build_loss
from lowland.train.loop import FailedStep, clip
from lowland.train.state import restore_rows, under

FOLDER = "non-finite"
WEIGHTS, BATCH, FIGURES = "weights.safetensors", "batch.safetensors", "step.json"
STREAM = "random/"


def keep_step(failed: FailedStep, model: nn.Module, run: Path) -> str:
    """Writes a step to the directory of its run: safetensors and JSON, which cannot run code when read.

    Args:
        failed: The step.
        model: The model, with the weights before the step.
        run: The directory of the run.

    Returns:
        A sentence that says where it is, or why it could not be kept.
    """
    folder = run / FOLDER / f"step-{failed.step}"
    tensors = {**failed.batch, **{f"{STREAM}{name}": rows for name, rows in failed.streams.items()}}
    figures = {"step": failed.step, "loss": str(failed.loss), "gradient_norm": str(failed.gradient_norm)}
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        save_model(model, str(folder / WEIGHTS))
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / BATCH)
        (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        return f" The batch could not be kept: {error}"
    return f" To see which example and layer it comes from: lowland doctor --step {folder}"


def load_step(folder: Path, model: nn.Module) -> FailedStep:
    """Reads a step and puts the model's weights where they were before it.

    Raises:
        UserError: If the folder does not hold a step, or one of another model.
    """
    try:
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        tensors = load_file(folder / BATCH)
        load_model(model, str(folder / WEIGHTS))
        return FailedStep(
            step=int(figures["step"]),
            loss=float(figures["loss"]),
            gradient_norm=float(figures["gradient_norm"]),
            batch={name: tensor for name, tensor in tensors.items() if not name.startswith(STREAM)},
            streams=under(STREAM, tensors),
        )
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror or 'cannot be read'}.") from None
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{folder} does not hold a step of this model: {reason}.") from None


def find_failure(directory: Path) -> Path:
    """Finds the folder of a step that was kept: the folder itself, that of a run, or of an experiment.

    Raises:
        UserError: If there is none.
    """
    if (directory / FIGURES).is_file():
        return directory
    found = [*directory.glob(f"{FOLDER}/step-*"), *directory.glob(f"*/{FOLDER}/step-*")]
    if not found:
        raise UserError(
            f"{directory}: no step is kept here; one is where a run stopped because its loss or gradient was "
            f"not finite, in the run's folder {FOLDER}."
        )
    return sorted(found)[0]


@dataclass(frozen=True, kw_only=True)
class ReplayedExample:
    """An example of the batch: its texts as far as the model sees them, its loss at w without dropout."""

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


def replay(folder: Path) -> Replay:
    """Computes a step again.

    Args:
        folder: The step's folder, in the directory of its run.

    Raises:
        UserError: If the folder or the run's settings cannot be read.
    """
    run = folder.absolute().parents[1]
    config = build_section(RunConfig, read_layer(run / "config.toml"))
    device = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available()).device
    bf16 = resolve_precision(config.train.precision, device) == "bf16"
    try:
        status = json.loads((run / "status.json").read_text(encoding="utf-8"))
        arm, seed = str(status["arm"]), int(status["seed"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{run / 'status.json'}: the run's arm and seed cannot be read.") from None
    family = start_model(config, None, seed)
    model = family.loaded.model
    failed = load_step(folder, model)
    model.to(device)
    loss, norm = _step(family, config, failed, device, bf16)
    model.eval()
    weights_of_loss: dict[str, Any] = {
        "z_loss": config.train.z_loss,
        "label_smoothing": config.train.label_smoothing,
    }

    def loss_of(batch: Mapping[str, Tensor], bf16: bool = bf16) -> float:
        with torch.no_grad():
            return float(family.loss(device, bf16=bf16, **weights_of_loss)(batch))

    examples = []
    for row in range(len(failed.batch["labels"])):
        one = {name: column[row : row + 1] for name, column in failed.batch.items()}
        inputs, targets = family.texts({name: column[0] for name, column in one.items()})
        examples.append(ReplayedExample(inputs=inputs, targets=targets, loss=loss_of(one)))
    with _first_non_finite(model) as names:
        loss_of(failed.batch)
    return Replay(
        step=failed.step,
        arm=arm,
        recorded=(failed.loss, failed.gradient_norm),
        loss=loss,
        gradient_norm=norm,
        weights=tuple(name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())),
        module=names[0] if names else None,
        examples=tuple(sorted(examples, key=lambda one: -one.loss if math.isfinite(one.loss) else -math.inf)),
        fp32_loss=loss_of(failed.batch, bf16=False) if bf16 else None,
    )


def _step(
    family: Family, config: RunConfig, failed: FailedStep, device: torch.device, bf16: bool
) -> tuple[float, float]:
    """Computes loss and gradient norm as the training did; gradients of the past are not kept."""
    settings = config.train
    loss_fn = build_loss(family.loss, device, settings, bf16=bf16)
    sam = replace(config.sam, precondition=False)  # the optimizer's state is not kept either
    gradient = build_gradient(loss_fn.module, settings, sam)
    if isinstance(gradient, SAMGradient):
        gradient.at(failed.step - 1, settings.steps)
    loss_fn.module.train()
    restore_rows(failed.streams)
    info = gradient(loss_fn, failed.batch)
    weights = [weight for weight in family.loaded.model.parameters() if weight.requires_grad]
    return float(info.loss), clip(weights, settings.gradient_clip)


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
