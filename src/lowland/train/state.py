"""The state of training on disk, from which it goes on bit for bit.

Tensors are safetensors and everything else is JSON: nothing that is read back can run code.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lowland.files import check_sums, sync, system_errors, write_sums

WEIGHTS, TENSORS, VALUES = "weights.safetensors", "tensors.safetensors", "state.json"


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler,
    values: dict[str, Any],
    streams: Mapping[str, Tensor],
    gradient: Mapping[str, Tensor],
) -> None:
    """Writes the state of training to a new folder, which the caller puts in its place.

    `values` are plain JSON values, given back by `load_state` with what the `gradient` remembers, by
    parameter; `streams` are what `stream_rows` gives, of all processes.
    """
    folder.mkdir(parents=True)
    tensors = {f"random/{name}": rows for name, rows in streams.items()}
    tensors |= {f"gradient/{name}": tensor for name, tensor in gradient.items()}
    whole = optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {str(index): {} for index in whole["state"]}
    for index, entries in whole["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                numbers[str(index)][key] = value
    weights: dict[int, tuple[str, Tensor]] = {}  # tied ones go by several names
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.requires_grad or not isinstance(tensor, nn.Parameter):
            weights.setdefault(id(tensor), (name, tensor.detach()))
    with system_errors(folder):
        for file, named in ((WEIGHTS, dict(weights.values())), (TENSORS, tensors)):
            save_file({name: tensor.contiguous() for name, tensor in named.items()}, folder / file)
    _, numpys, *place = np.random.get_state(legacy=True)
    state = {
        "values": values,
        "optimizer": {"state": numbers, "param_groups": whole["param_groups"]},
        "schedule": schedule.state_dict(),
        "random": {"python": random.getstate(), "numpy": [np.asarray(numpys).tolist(), *place]},
    }
    (folder / VALUES).write_text(f"{json.dumps(state)}\n", encoding="utf-8")
    write_sums(folder)
    for path in [*folder.iterdir(), folder]:
        sync(path)


def stream_rows() -> dict[str, Tensor]:
    """Gives the states of torch's random streams of this process, one row each: name -> 1 x bytes."""
    streams = {"torch": torch.get_rng_state()[None]}
    if torch.cuda.is_available():
        streams["cuda"] = torch.cuda.get_rng_state()[None]
    return streams


def read_values(folder: Path) -> dict[str, Any]:
    """Checks a saved state and reads its values; raises a `DamagedError` if a file has changed."""
    check_sums(folder)
    return dict(json.loads((folder / VALUES).read_text(encoding="utf-8"))["values"])


def load_state(
    folder: Path, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler, process: int = 0
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Puts model, optimizer, schedule and random streams where a checked state has them.

    Returns the caller's values, and what the gradient remembered.
    """
    state = json.loads((folder / VALUES).read_text(encoding="utf-8"))
    weights, tensors = model.state_dict(), load_file(folder / TENSORS)
    for name, tensor in load_file(folder / WEIGHTS).items():
        weights[name].copy_(tensor)
    torch.set_rng_state(tensors["random/torch"][process].clone())
    if "random/cuda" in tensors and torch.cuda.is_available():  # saved with a GPU, and there is one
        torch.cuda.set_rng_state(tensors["random/cuda"][process].clone())
    version, numbers, rest = state["random"]["python"]
    random.setstate((version, tuple(numbers), rest))
    numpys, *place = state["random"]["numpy"]
    np.random.set_state(("MT19937", np.array(numpys, dtype=np.uint32), *place))
    entries: dict[int, Any] = {int(index): kept for index, kept in state["optimizer"]["state"].items()}
    for name, tensor in under("optimizer/", tensors).items():
        index, key = name.split("/", 1)
        entries[int(index)][key] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": state["optimizer"]["param_groups"]})
    schedule.load_state_dict(state["schedule"])
    return dict(state["values"]), under("gradient/", tensors)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
