"""The loss along a direction and on a plane through the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lowland.sharpness.objective import Objective, Vector, moved, scaled


def filter_normalised(parameters: Sequence[Tensor], seed: int) -> Vector:
    """Draws a random direction in which every row of a matrix is as long as the weights' own.

    So one unit along it changes every row by as much as it measures, in whatever unit a network writes its
    rows. Vectors (norms' scales, biases) stay at 0, as in the source.

    Args:
        parameters: The weights.
        seed: Of the draw.

    Source:
        Li et al. (2018), Visualizing the Loss Landscape of Neural Nets.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = []
    for parameter in parameters:
        weight = parameter.detach()
        if weight.dim() < 2:
            direction.append(torch.zeros_like(weight))
            continue
        drawn = torch.randn(weight.shape, generator=generator).to(weight)
        lengths = weight.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1)
        direction.append(drawn * lengths.view(-1, *[1] * (weight.dim() - 1)))
    return direction


def losses_along(objective: Objective, direction: Sequence[Tensor], places: Sequence[float]) -> list[float]:
    """Computes the loss at w + place * direction for every place."""
    return [_value_at(objective, scaled(direction, place)) for place in places]


def losses_on_plane(
    objective: Objective,
    across: Sequence[Tensor],
    up: Sequence[Tensor],
    columns: Sequence[float],
    rows: Sequence[float],
) -> list[list[float]]:
    """Computes the loss at w + column * across + row * up.

    Returns:
        A list for every row with a loss for every column.
    """
    return [
        [
            _value_at(objective, torch._foreach_add(scaled(across, column), scaled(up, row)))
            for column in columns
        ]
        for row in rows
    ]


def _value_at(objective: Objective, offset: Sequence[Tensor]) -> float:
    with moved(objective.parameters, offset):
        return objective.value()
