"""Moving the weights to w_adv and back, exactly.

The weights are saved and copied back in place. Nothing is subtracted: adding
and subtracting epsilon leaves a rounding error in every weight, in bf16 one
larger than epsilon itself. No storage is swapped: `data_ptr` stays.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.sam.parallel import local, shard_sums


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """What was really done to the weights.

    Attributes:
        norm: Global L2 norm of the ascent gradient.
        radius: Measured ||w_adv - w||_2; rho up to rounding, 0 where the gradient gave no direction.
        moved: Share of the weights that differ from w at w_adv, from 0 to 1.
    """

    norm: float
    radius: float
    moved: float


def _by_kind(*lists: Sequence[Tensor]) -> list[list[list[Tensor]]]:
    """Groups parallel lists by the first list's device and type, as the foreach kernels want them."""
    groups: dict[tuple[torch.device, torch.dtype], list[list[Tensor]]] = defaultdict(
        lambda: [[] for _ in lists]
    )
    for tensors in zip(*lists, strict=True):
        group = groups[tensors[0].device, tensors[0].dtype]
        for members, tensor in zip(group, tensors, strict=True):
            members.append(tensor)
    return list(groups.values())


def global_norm(tensors: Sequence[Tensor]) -> float:
    """Computes one L2 norm over all tensors together, across shards, in fp32 at least.

    Args:
        tensors: Any shapes, types and devices; DTensors count with all their shards.

    Returns:
        The norm; not finite where an element is not.
    """
    if not tensors:
        return 0.0
    squares = torch.zeros(len(tensors), dtype=torch.float64)
    position = {id(tensor): index for index, tensor in enumerate(tensors)}
    for group, owners in _by_kind([local(tensor) for tensor in tensors], list(tensors)):
        accumulate = torch.float64 if group[0].dtype == torch.float64 else torch.float32
        norms = torch.stack(list(torch._foreach_norm(group, 2, dtype=accumulate))).to("cpu", torch.float64)
        squares[[position[id(owner)] for owner in owners]] = norms.square()
    return math.sqrt(float(shard_sums(squares, tensors).sum()))


@contextmanager
def perturbed(parameters: Sequence[Tensor], gradients: list[Tensor], rho: float) -> Iterator[Perturbation]:
    """Moves the weights to w + rho * g / ||g|| and, however the block ends, back to exactly w.

    A gradient of norm zero or with an element that is not finite gives no direction: the weights
    then stay at w, and the radius says so.

    Args:
        parameters: The weights that are perturbed.
        gradients: Their ascent gradients, one each. The list is emptied, so that their memory is free
            for the descent.
        rho: Radius, >= 0.

    Yields:
        The perturbation as it was done.

    Source:
        Algorithm 1, line "w_adv": one global norm over all parameters together.
    """
    norm = global_norm(gradients)
    scale = rho / norm if norm > 0 and math.isfinite(norm) else 0.0
    if scale == 0.0 or not math.isfinite(scale):
        gradients.clear()
        yield Perturbation(norm=norm, radius=0.0, moved=0.0)
        return
    weights = [local(parameter) for parameter in parameters]
    saved = [weight.clone() for weight in weights]
    try:
        radius, moved = _move(weights, saved, gradients, scale)
        gradients.clear()
        yield Perturbation(norm=norm, radius=radius, moved=moved)
    finally:
        try:
            _restore(weights, saved)
        except BaseException:  # a second Ctrl-C, while restoring: the weights come first
            _restore(weights, saved)
            raise


@torch.no_grad()
def _move(
    weights: list[Tensor], saved: list[Tensor], gradients: list[Tensor], scale: float
) -> tuple[float, float]:
    """Adds epsilon to the weights; returns its measured norm and the share of weights that it moved."""
    epsilons = [local(gradient) for gradient in gradients]
    for group, steps in _by_kind(weights, epsilons):
        torch._foreach_add_(group, steps, alpha=scale)
    # A cast that autocast made of w must not be used at w_adv.
    torch.clear_autocast_cache()
    # What arrived is measured, in the gradients' own memory: in bf16 most of epsilon rounds away.
    for steps, group, group_saved in _by_kind(epsilons, weights, saved):
        torch._foreach_copy_(steps, group)
        torch._foreach_sub_(steps, group_saved)
    counts = [[int(epsilon.count_nonzero()), epsilon.numel()] for epsilon in epsilons]
    moved, total = shard_sums(torch.tensor(counts, dtype=torch.float64), gradients).sum(dim=0).tolist()
    return global_norm(gradients), moved / total


@torch.no_grad()
def _restore(weights: list[Tensor], saved: list[Tensor]) -> None:
    for group, group_saved in _by_kind(weights, saved):
        torch._foreach_copy_(group, group_saved)
    torch.clear_autocast_cache()
