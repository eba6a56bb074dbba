"""The state of training on disk, from which it goes on bit for bit.

Tensors are safetensors and everything else is JSON: nothing that is read back
can run code. Nothing of Algorithm 1 is in it, since that has no state.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lowland.files import DamagedError, sha256, sync, system_errors

WEIGHTS, TENSORS, VALUES = "weights.safetensors", "tensors.safetensors", "state.json"


class DamagedStateError(DamagedError):
    """A saved state is incomplete or was changed; the message says which file."""


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler,
    values: dict[str, Any],
    streams: Mapping[str, Tensor] | None = None,
    gradient: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the state of training to a folder.

    Args:
        folder: Where to; it must be new. Whoever calls puts it in its place.
        model: The model.
        optimizer: Its optimizer.
        schedule: The learning-rate schedule.
        values: Plain JSON values of the caller's, given back by `load_state`.
        streams: What `stream_rows` gives, of all processes, one row each; by default of this one.
        gradient: What the gradient remembers, by parameter.

    Raises:
        OSError: If the state cannot be written.
    """
    folder.mkdir(parents=True)
    tensors, numbers = _flatten(optimizer.state_dict())
    tensors |= {f"random/{name}": rows for name, rows in (streams or stream_rows()).items()}
    tensors |= {f"gradient/{name}": tensor for name, tensor in (gradient or {}).items()}
    with system_errors(folder):
        if any(not parameter.requires_grad for parameter in model.parameters()):
            save_file(_moving(model), folder / WEIGHTS)
        else:
            save_model(model, str(folder / WEIGHTS))
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS)
    _, numpys, *place = np.random.get_state(legacy=True)
    state = {
        "values": values,
        "optimizer": numbers,
        "schedule": _numbers(schedule),
        "random": {"python": random.getstate(), "numpy": [np.asarray(numpys).tolist(), *place]},
        "sha256": {name: sha256(folder / name) for name in (WEIGHTS, TENSORS)},
    }
    text = json.dumps(state)
    (folder / VALUES).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n", encoding="utf-8")
    for path in [*folder.iterdir(), folder]:
        sync(path)


def stream_rows() -> dict[str, Tensor]:
    """Gives the states of torch's random streams of this process, one row each: name -> 1 x bytes."""
    streams = {"torch": torch.get_rng_state()[None]}
    if torch.cuda.is_available():
        streams["cuda"] = torch.cuda.get_rng_state()[None]
    return streams


def restore_rows(streams: Mapping[str, Tensor], process: int = 0) -> None:
    """Puts torch's random streams where `stream_rows` found them; those of a GPU only where there is one."""
    torch.set_rng_state(streams["torch"][process].clone())
    if "cuda" in streams and torch.cuda.is_available():
        torch.cuda.set_rng_state(streams["cuda"][process].clone())


def read_values(folder: Path) -> dict[str, Any]:
    """Checks a saved state and reads its values.

    Raises:
        DamagedStateError: If a file is missing or not as it was written.
    """
    return dict(_read(folder)["values"])


def load_state(
    folder: Path, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler, process: int = 0
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Puts model, optimizer, schedule and random streams where a saved state has them.

    Args:
        folder: What `save_state` wrote.
        model: The model.
        optimizer: An optimizer of the same kind over the same parameters.
        schedule: A schedule of the same kind.
        process: Whose random streams are taken.

    Returns:
        The caller's values, and what the gradient remembered.

    Raises:
        DamagedStateError: If a file is missing or not as it was written.
    """
    state = _read(folder)
    if any(not parameter.requires_grad for parameter in model.parameters()):
        saved = load_file(folder / WEIGHTS)
        for name, tensor in _moving(model).items():
            tensor.copy_(saved[name])
    else:
        load_model(model, folder / WEIGHTS)
    tensors = load_file(folder / TENSORS)
    restore_rows(under("random/", tensors), process)
    gradient = under("gradient/", tensors)
    version, numbers, rest = state["random"]["python"]
    random.setstate((version, tuple(numbers), rest))
    numpys, *place = state["random"]["numpy"]
    np.random.set_state(("MT19937", np.array(numpys, dtype=np.uint32), *place))
    optimizer.load_state_dict(_unflatten(under("optimizer/", tensors), state["optimizer"]))
    schedule.load_state_dict(state["schedule"])
    return dict(state["values"]), gradient


def _read(folder: Path) -> dict[str, Any]:
    try:
        checksum, _, text = (folder / VALUES).read_text(encoding="utf-8").partition("\n")
        whole = text.endswith("\n")  # its last byte
        text = text.removesuffix("\n")
        if not whole or hashlib.sha256(text.encode()).hexdigest() != checksum:
            raise DamagedStateError(f"{folder / VALUES} is not as it was written.")
        state: dict[str, Any] = json.loads(text)
        for name, expected in state["sha256"].items():
            if sha256(folder / name) != expected:
                raise DamagedStateError(f"{folder / name} is not as it was written.")
    except OSError as error:
        raise DamagedStateError(f"{error.filename} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise DamagedStateError(f"{folder / VALUES} is not as it was written.") from None
    return state


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _moving(model: nn.Module) -> dict[str, Tensor]:
    """Gives what training changes where a part is frozen, such as the base of adapters: name -> tensor."""
    named = model.named_parameters(remove_duplicate=False)  # tied weights go by several names
    frozen = {name for name, parameter in named if not parameter.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Parts an optimizer's state into tensors and plain values."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        plain[str(index)] = {}
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                plain[str(index)][key] = value
    return tensors, {"state": plain, "param_groups": state["param_groups"]}


def _numbers(schedule: LRScheduler) -> dict[str, Any]:
    """Gives a schedule's state without its functions, which the settings make anew."""
    state: dict[str, Any] = schedule.state_dict()
    return {**state, "lr_lambdas": [None] * len(state["lr_lambdas"])} if "lr_lambdas" in state else state


def _unflatten(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[str, Any]:
    entries: dict[int, dict[str, Any]] = {int(index): dict(v) for index, v in numbers["state"].items()}
    for name, tensor in tensors.items():
        index, key = name.split("/", 1)
        entries[int(index)][key] = tensor
    return {"state": entries, "param_groups": numbers["param_groups"]}
