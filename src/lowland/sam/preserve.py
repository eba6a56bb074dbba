"""What the ascent pass must leave as it found it: random streams and buffers; and gradients of before.

The ascent pass is a measurement. Dropout masks drawn in it must not shift the
masks of the descent, and BatchNorm must not count its examples twice; else
rho = 0 would not be standard training.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook


@contextmanager
def random_streams(devices: Iterable[torch.device]) -> Iterator[None]:
    """Restores on exit every global random stream that a forward pass may draw from.

    Args:
        devices: The devices of the parameters; the streams of those that are not CPUs are kept too.
    """
    accelerators = sorted({device for device in devices if device.type != "cpu"}, key=str)
    python_state = random.getstate()
    numpy_random = sys.modules.get("numpy.random")  # if nothing imported it, nothing draws from it
    numpy_state = numpy_random.get_state() if numpy_random is not None else None
    cpu_state = torch.get_rng_state()
    states = [(d, torch.get_device_module(d).get_rng_state(d)) for d in accelerators if d.type != "meta"]
    try:
        yield
    finally:
        random.setstate(python_state)
        if numpy_random is not None:
            numpy_random.set_state(numpy_state)
        torch.set_rng_state(cpu_state)
        for device, state in states:
            torch.get_device_module(device).set_rng_state(state, device)


@contextmanager
def buffers(module: nn.Module | None) -> Iterator[None]:
    """Restores on exit every buffer that the passes inside may have written to or put another in place of.

    Args:
        module: The model. Without one, every module that runs inside is watched instead, through a
            global hook; a compiled model needs the module, since hooks do not see inside it.
    """
    saved: dict[tuple[int, str], tuple[nn.Module, Tensor | None, Tensor | None]] = {}

    def save(owner: nn.Module) -> None:
        for name, buffer in owner._buffers.items():
            if (id(owner), name) not in saved:
                value = None if buffer is None else buffer.detach().clone()
                saved[id(owner), name] = owner, buffer, value

    handle = None
    if module is None:

        def before_forward(owner: nn.Module, _: Any) -> None:
            save(owner)

        handle = register_module_forward_pre_hook(before_forward)
    else:
        for owner in module.modules():
            save(owner)
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
        for (_, name), (owner, buffer, value) in saved.items():
            owner._buffers[name] = buffer
            if buffer is not None and value is not None:
                buffer.detach().copy_(value)


@contextmanager
def gradients(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Sets the gradients aside that are there, and on exit adds them to those that came in their place."""
    found = [None if parameter.grad is None else parameter.grad.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in zip(parameters, found, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            elif gradient is not None:
                parameter.grad.add_(gradient)
