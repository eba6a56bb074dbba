"""What an example is to a Trainer whose batches do not have one row an example."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

PAIRED = {
    "DPOTrainer",
    "DataCollatorForPreference",
    "DataCollatorForVisionPreference",
    "PairwiseDataCollatorWithPadding",
    "PairwiseTrainer",
    "RewardTrainer",
}
"""Trainers and collators, of TRL and LLaMA-Factory, whose batches are [all chosen, all rejected]."""


class Examples:
    """A micro-batch whose examples are not its rows; derive from it a class with `len()` and slices.

    Args:
        inputs: What `compute_loss` gets.
    """

    def __init__(self, inputs: Any) -> None:
        self.inputs = inputs


class Whole(Examples):
    """A micro-batch that is not cut: the ascent takes the first of the micro-batches, each as a whole."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, part: slice) -> Whole:
        return self


class Pairs(Examples):
    """A batch of pairs in two halves: all chosen, then all rejected.

    What has a row for each text is cut in both halves, and what has one for each pair (margins) once.
    """

    inputs: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.inputs["input_ids"]) // 2

    def __getitem__(self, part: slice) -> Pairs:
        taken: Any = copy(self.inputs)
        for name, value in self.inputs.items():
            if isinstance(value, list) or (isinstance(value, Tensor) and value.dim()):
                taken[name] = self._cut(name, value, part)
        return Pairs(taken)

    def _cut(self, name: str, value: Any, part: slice) -> Any:
        pairs = len(self)
        if len(value) == pairs:
            return value[part]
        if len(value) == 2 * pairs:
            chosen, rejected = value[:pairs][part], value[pairs:][part]
            return torch.cat([chosen, rejected]) if isinstance(value, Tensor) else chosen + rejected
        raise ValueError(
            f"{name!r} has {len(value)} rows in a batch of {pairs} pairs, so that SAM's ascent cannot take a "
            "part of them. Give the Trainer's class a method sam_examples(inputs) that returns "
            "lowland.integrations.Whole(inputs), and accumulate over several micro-batches."
        )


def examples_of(trainer: Any, inputs: Any) -> Any:
    """Tells what the examples of a micro-batch are: its rows, or an `Examples`.

    Trainers and collators are known by the names of their classes, also those that Unsloth makes of TRL's.
    """
    line = (*type(trainer).__mro__, *type(getattr(trainer, "data_collator", None)).__mro__)
    if any(_is_paired(one) for one in line) and isinstance(inputs, Mapping) and "input_ids" in inputs:
        return Pairs(inputs)
    return inputs


def _is_paired(one: type) -> bool:
    name = one.__name__.removeprefix("_")
    made_by_unsloth = name.startswith("Unsloth")
    known = made_by_unsloth or one.__module__.partition(".")[0] in ("trl", "llamafactory")
    return known and name.removeprefix("Unsloth") in PAIRED


class Mixed(Sampler[int]):
    """Gives the indices of another sampler, those of each `size` (a batch of SAM) in a random order."""

    def __init__(self, sampler: Sampler[int], size: int) -> None:
        self.sampler = sampler
        self.size = size

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type] # the Trainer's have a length

    def __iter__(self) -> Iterator[int]:
        indices = list(self.sampler)
        for start in range(0, len(indices), self.size):
            batch = indices[start : start + self.size]
            # Of the batch alone: no random stream is used, and an interrupted run goes on alike.
            random.Random(str(batch)).shuffle(batch)
            yield from batch
