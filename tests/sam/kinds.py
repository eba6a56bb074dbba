"""Cases of two processes for the other kinds of SAM: past directions, LookSAM, adaptive, other ascents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from tests.sam.ranks import (
    Net,
    alone,
    assert_same_gradients,
    assert_same_info,
    case,
    close,
    ddp,
    halves,
    joined,
    shard,
)
from tests.sam.toys import Batch
from tests.sam.trajectories import FLAVOURS, trajectory
from torch import Tensor, nn

from lowland import SAM, GradientInfo
from lowland.sam import LookSAMGradient, PastSAMGradient


def past_trajectory(rank: int, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Takes steps whose direction is made of the steps before, together and alone."""
    for direction in ("previous", "momentum"):
        wrapped, other = wrap(Net()), Net()
        options: dict[str, Any] = {"direction": direction, "micro_batch_size": 4, "swap": True}
        together = PastSAMGradient(wrapped, rho=0.3, **options)
        assert not together.swap  # weights in a wrapper are written over
        single = PastSAMGradient(other, rho=0.3, direction=direction)  # type: ignore[arg-type]
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
def look(rank: int) -> None:
    """Under DDP and FSDP2 LookSAM's steps are those of one process, also after its state was loaded."""
    for wrap in (*(ddp(**options) for options in FLAVOURS.values()), shard):
        for measure in (True, False):
            wrapped, other = wrap(Net()), Net()
            options: dict[str, Any] = {"rho": 0.3, "ascent": 4, "measure": measure}
            together = LookSAMGradient(wrapped, micro_batch_size=4, **options)
            single = LookSAMGradient(other, **options)
            for step in range(6):
                if step == 4:
                    state = together.state_dict()
                    together = LookSAMGradient(wrapped, micro_batch_size=4, **options)
                    together.load_state_dict(state)
                together.active = single.active = step in (0, 3)
                parts = halves(step)
                info, expected = together(wrapped, parts[rank]), single(other, alone(parts, 2))
                assert_same_gradients(wrapped, other)
                assert close(info.radius, expected.radius)
                for optimized in (wrapped, other):
                    torch.optim.SGD(optimized.parameters(), lr=0.1).step()
                    optimized.zero_grad()


@case
def adaptive(rank: int) -> None:
    """Under DDP and FSDP2 an adaptive perturbation is measured by all weights together."""
    trajectory(rank, ddp(), adaptive=True)
    trajectory(rank, shard, adaptive=True)


class AscentDrops(Net):
    """Drops out everything in an ascent, which is what has fewer than six examples here."""

    def forward(self, batch: Batch) -> Tensor:
        loss = super().forward(batch)
        return nn.functional.dropout(loss, 1.0, self.training) if len(batch["labels"]) < 6 else loss


class AutocastTurns(Net):
    """Changes the sign of its loss where it is under autocast, which float64 does not notice otherwise."""

    def forward(self, batch: Batch) -> Tensor:
        loss = super().forward(batch)
        return -loss if torch.is_autocast_enabled("cpu") else loss


def ascents(rank: int, net: Callable[[], nn.Module], **options: Any) -> Iterator[GradientInfo]:
    """Takes steps whose ascent is of another kind, together and alone; gives the figures of the latter."""
    for wrap in (*(ddp(**flavour) for flavour in FLAVOURS.values()), shard):
        wrapped, other = wrap(net()), net()
        together, single = (SAM(m, rho=0.3, ascent=4, **options) for m in (wrapped, other))
        for step in range(2):
            parts = halves(step)
            info, expected = together(wrapped, parts[rank]), single(other, alone(parts, 2))
            assert_same_info(info, expected)
            assert_same_gradients(wrapped, other)
            for model in (wrapped, other):
                assert all(part.training for part in model.modules())
                model.zero_grad()
            yield expected


@case
def ascent_dropout(rank: int) -> None:
    """Under DDP and FSDP2 an ascent without dropout is that of one process."""
    for expected in ascents(rank, AscentDrops, ascent_dropout=False):
        assert expected.ascent_loss is not None and expected.ascent_loss > 0


@case
def ascent_bf16(rank: int) -> None:
    """Under DDP and FSDP2 the ascent alone is under autocast."""
    for expected in ascents(rank, AutocastTurns, ascent_bf16=True):
        assert expected.ascent_loss is not None and expected.ascent_loss < 0 < expected.loss
