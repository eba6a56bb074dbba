"""Keeps what a Trainer counts and averages out of the ascent pass.

Trainers keep figures of their loss on the way: TRL's have lists of metrics and
a count of tokens, others log in the middle of `compute_loss`. They are meant
for the pass that trains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Back = Callable[[], None]

NO_FIGURES = frozenset({"args", "data_collator", "eval_dataset", "model", "model_wrapped", "train_dataset"})
"""Attributes of a Trainer that are none, and may be large."""

LARGE = 1000
"""Containers of more entries are not looked into; what was added to a list is taken out again."""

DEEP = 3
"""Containers inside of so many others are not looked into."""


@contextmanager
def figures_aside(trainer: Any) -> Iterator[None]:
    """Runs a block after which a Trainer's figures are what they were, and in which it logs nothing.

    Figures are numbers, strings, small tensors, and dictionaries, lists, sets and deques of such, in the
    Trainer's attributes and in its state's.

    Args:
        trainer: The Trainer.
    """
    back = [_attributes(trainer), _attributes(trainer.state)]
    trainer.log = _log_nothing
    try:
        yield
    finally:
        for put_back in back:
            put_back()


def _log_nothing(*args: Any, **kwargs: Any) -> None:
    pass


def _attributes(owner: Any) -> Back:
    attributes = vars(owner)
    kept, inside = dict(attributes), _inside(v for name, v in attributes.items() if name not in NO_FIGURES)

    def put_back() -> None:
        for name in attributes.keys() - kept.keys():
            delattr(owner, name)
        for name, value in kept.items():
            if attributes.get(name) is not value:
                setattr(owner, name, value)
        inside()

    return put_back


def _inside(values: Iterable[Any], depth: int = 0) -> Back:
    """Gives what puts the inside of values back, as far as it can be changed."""
    found = [one for value in values if (one := _figure(value, depth)) is not None]

    def put_back() -> None:
        for one in found:
            one()

    return put_back


def _figure(value: Any, depth: int) -> Back | None:
    if isinstance(value, Tensor):
        return _tensor(value)
    if not isinstance(value, (dict, list, set, deque)) or depth > DEEP:
        return None
    if len(value) > LARGE:
        length = len(value)
        return (lambda: value.__delitem__(slice(length, None))) if isinstance(value, list) else None
    entries: Any = dict(value) if isinstance(value, dict) else list(value)
    inside = _inside(entries.values() if isinstance(value, dict) else entries, depth + 1)

    def put_back() -> None:
        value.clear()
        value.extend(entries) if isinstance(value, (list, deque)) else value.update(entries)
        inside()

    return put_back


def _tensor(value: Tensor) -> Back | None:
    if value.numel() > LARGE or value.requires_grad or value.is_inference():
        return None
    version, kept = value._version, value.clone()

    def put_back() -> None:
        if value._version != version:
            with torch.no_grad():
                value.copy_(kept)

    return put_back
