"""What is kept of a step at which training stopped, so that it can be computed again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from lowland.errors import UserError

WEIGHTS, BATCH, FIGURES = "weights.safetensors", "batch.safetensors", "step.json"
STREAM = "random/"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A step at which training stopped.

    Attributes:
        step: The step, from 1.
        loss: Its loss.
        gradient_norm: The norm of its gradient.
        batch: Its examples: `input_ids`, `attention_mask`, `labels`.
        streams: The random streams as they were before it.
    """

    step: int
    loss: float
    gradient_norm: float
    batch: Mapping[str, Tensor]
    streams: Mapping[str, Tensor]


def random_streams() -> dict[str, Tensor]:
    """Gives the states of torch's random streams."""
    streams = {f"{STREAM}torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        streams |= {f"{STREAM}cuda/{n}": state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    return streams


def restore_streams(streams: Mapping[str, Tensor]) -> None:
    """Puts torch's random streams where they were; those of devices that are not here are left out."""
    torch.set_rng_state(streams[f"{STREAM}torch"])
    for number in range(torch.cuda.device_count()):
        if (state := streams.get(f"{STREAM}cuda/{number}")) is not None:
            torch.cuda.set_rng_state(state, number)


def save_failure(
    folder: Path,
    model: nn.Module,
    batch: Mapping[str, Tensor],
    streams: Mapping[str, Tensor],
    figures: Mapping[str, int | str],
) -> None:
    """Writes a step to a folder: safetensors and JSON, nothing that could run code when it is read.

    Args:
        folder: Where to; what is there is replaced.
        model: The model, with the weights before the step.
        batch: The examples of the step.
        streams: The random streams before it.
        figures: `step`, `loss` and `gradient_norm`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_model(model, str(folder / WEIGHTS))
    tensors = {**batch, **streams}
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / BATCH)
    (folder / FIGURES).write_text(json.dumps(dict(figures), indent=2) + "\n", encoding="utf-8")


def load_failure(folder: Path, model: nn.Module) -> Failure:
    """Reads a step and puts the model's weights where they were before it.

    Raises:
        UserError: If the folder does not hold a step, or one of another model.
    """
    try:
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        tensors = load_file(folder / BATCH)
        load_model(model, str(folder / WEIGHTS))
        return Failure(
            step=int(figures["step"]),
            loss=float(figures["loss"]),
            gradient_norm=float(figures["gradient_norm"]),
            batch={name: tensor for name, tensor in tensors.items() if not name.startswith(STREAM)},
            streams={name: tensor for name, tensor in tensors.items() if name.startswith(STREAM)},
        )
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror or 'cannot be read'}.") from None
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{folder} does not hold a step of this model: {reason}.") from None
