"""Sums over all parameters together: across tensors, types, devices and shards, in fp32 at least."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lowland.parameters.parallel import local, shard_sums


def global_norm(tensors: Sequence[Tensor]) -> float:
    """Computes one L2 norm over all tensors together, across shards; not finite where an element is not."""

    def squares(group: list[Tensor]) -> Tensor:
        # The sums of fp16 would overflow, and those of bf16 know two digits.
        accumulate = torch.float64 if group[0].dtype == torch.float64 else torch.float32
        return torch.stack(list(torch._foreach_norm(group, 2, dtype=accumulate))).cpu().double().square()

    return math.sqrt(_total(tensors, squares))


def nonzero_count(tensors: Sequence[Tensor]) -> float:
    """Counts the elements that are not zero, across shards."""

    def counts(group: list[Tensor]) -> Tensor:
        return torch.stack([tensor.count_nonzero() for tensor in group]).cpu().double()

    return _total(tensors, counts)


def _total(tensors: Sequence[Tensor], figure: Callable[[list[Tensor]], Tensor]) -> float:
    """Adds a figure up over all tensors and shards; `figure` sees those of one device and type at once."""
    pieces = [local(tensor) for tensor in tensors]
    kinds: dict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
    for index, piece in enumerate(pieces):
        kinds[piece.device, piece.dtype].append(index)
    figures = torch.zeros(len(pieces), dtype=torch.float64, device="cpu")
    for members in kinds.values():
        figures[members] = figure([pieces[index] for index in members])
    return float(shard_sums(figures, tensors).sum())
