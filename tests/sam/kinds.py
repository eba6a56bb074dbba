"""Cases of two processes for the other kinds of SAM: past directions and adaptive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.sam.ranks import (
    Net,
    assert_same_gradients,
    case,
    close,
    ddp,
    halves,
    joined,
    shard,
)
from tests.sam.toys import SAM
from tests.sam.trajectories import FLAVOURS, trajectory
from torch import nn


def past_trajectory(rank: int, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Takes steps whose direction is made of the steps before, together and alone."""
    for direction in ("previous", "momentum"):
        wrapped, other = wrap(Net()), Net()
        options: dict[str, Any] = {"direction": direction, "micro_batch_size": 4}
        together = SAM(wrapped, rho=0.3, **options)
        single = SAM(other, rho=0.3, direction=direction)  # type: ignore[arg-type]
        for step in range(3):
            info, expected = together(wrapped, halves(step)[rank]), single(other, joined(halves(step)))
            assert_same_gradients(wrapped, other)
            assert close(info.radius, expected.radius) and close(info.ascent_norm, expected.ascent_norm)
            for optimized in (wrapped, other):
                torch.optim.SGD(optimized.parameters(), lr=0.1).step()
                optimized.zero_grad()


@case
def ddp_past(rank: int) -> None:
    """Under DDP, bucket views included, directions of past gradients are those of the whole batch."""
    for options in FLAVOURS.values():
        past_trajectory(rank, ddp(**options))


@case
def fsdp2_past(rank: int) -> None:
    """Under FSDP2 directions of past gradients are kept in shards, with one norm over all of them."""
    past_trajectory(rank, shard)


@case
def adaptive(rank: int) -> None:
    """Under DDP and FSDP2 an adaptive perturbation is measured by all weights together."""
    trajectory(rank, ddp(), adaptive=True)
    trajectory(rank, shard, adaptive=True)
