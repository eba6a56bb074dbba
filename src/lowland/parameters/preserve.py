"""What a step puts back whatever happens, and what the ascent must leave: gradients, random streams, buffers.

Dropout masks drawn in the ascent must not shift those of the descent, and BatchNorm must not count its
examples twice; else rho = 0 would not be the baseline.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook


class Undo:
    """A list of actions that put something back; calling it takes and forgets them, the last one first.

    An interrupt in the middle of a call leaves the list as it is, so that the next call repeats it: an action
    may be taken more than once, and is added before the change that it undoes.
    """

    def __init__(self) -> None:
        self._actions: list[Callable[[], None]] = []

    def later(self, action: Callable[[], None]) -> None:
        """Adds an action."""
        self._actions.append(action)

    def set_all(self, objects: Iterable[Any], name: str, value: bool) -> None:
        """Sets an attribute of objects in which it is `not value` now."""
        chosen = list(objects)

        def back() -> None:
            for one in chosen:
                setattr(one, name, not value)

        self.later(back)
        for one in chosen:
            setattr(one, name, value)

    def __call__(self) -> None:
        """Puts everything back."""
        for action in reversed(self._actions):
            action()
        self._actions.clear()


@contextmanager
def undoing() -> Iterator[Undo]:
    """Undoes, after a block, what was changed in it, however it ends."""
    undo = Undo()
    try:
        yield undo
    finally:
        try:
            undo()
        except BaseException:  # an interrupt, while something is put back
            undo()
            raise


def gradients(parameters: Sequence[Tensor], undo: Undo, *, copy: bool = False) -> None:
    """Takes the gradients away, until `undo` puts them back; copies where their memory is written to."""
    held = [None if p.grad is None else p.grad.clone() if copy else p.grad for p in parameters]

    def back() -> None:
        for parameter, gradient in zip(parameters, held, strict=True):
            parameter.grad = gradient

    undo.later(back)
    for parameter in parameters:
        parameter.grad = None


def found_gradients(parameters: Sequence[Tensor], undo: Undo) -> None:
    """Takes the gradients away that are there, until `undo` adds them to those that came meanwhile."""
    held = [(parameter, parameter.grad.clone()) for parameter in parameters if parameter.grad is not None]

    def back() -> None:
        while held:  # each is added once, even if an interrupt makes `undo` repeat this
            parameter, gradient = held.pop()
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad.add_(gradient)

    undo.later(back)
    for parameter in parameters:
        parameter.grad = None


def random_streams(devices: Iterable[torch.device], undo: Undo) -> None:
    """Keeps every global random stream that a forward pass may draw from, for `undo` to restore."""
    accelerators = sorted({device for device in devices if device.type not in ("cpu", "meta")}, key=str)
    python_state = random.getstate()
    numpy_random = sys.modules.get("numpy.random")  # if nothing imported it, nothing draws from it
    numpy_state = numpy_random.get_state() if numpy_random is not None else None
    cpu_state = torch.get_rng_state()
    states = [(device, torch.get_device_module(device).get_rng_state(device)) for device in accelerators]

    def back() -> None:
        random.setstate(python_state)
        if numpy_random is not None:
            numpy_random.set_state(numpy_state)
        torch.set_rng_state(cpu_state)
        for device, state in states:
            torch.get_device_module(device).set_rng_state(state, device)

    undo.later(back)


def buffers(module: nn.Module | None, undo: Undo) -> None:
    """Keeps every buffer that the next passes may write to or replace, for `undo` to restore.

    Without a module, every one that runs is watched by a global hook, which does not see compiled ones.
    """
    saved: dict[tuple[int, str], tuple[nn.Module, Tensor | None, Tensor | None]] = {}

    def save(owner: nn.Module) -> None:
        for name, buffer in owner._buffers.items():
            if (id(owner), name) not in saved:
                value = None if buffer is None else buffer.detach().clone()
                saved[id(owner), name] = owner, buffer, value

    def back() -> None:
        for (_, name), (owner, buffer, value) in saved.items():
            owner._buffers[name] = buffer
            if buffer is not None and value is not None:
                buffer.detach().copy_(value)

    undo.later(back)
    if module is None:

        def before_forward(owner: nn.Module, _: Any) -> None:
            save(owner)

        handle = register_module_forward_pre_hook(before_forward)
        undo.later(handle.remove)
    else:
        for owner in module.modules():
            save(owner)
