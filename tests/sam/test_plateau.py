"""SAM that holds training at a plateau: it is told, and a schedule cures it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.sam.toys import SAM
from torch import Tensor, nn

from lowland.sam.plateau import PlateauWatch

STEPS = 300


class TwoLayers(nn.Module):
    """A linear network of two layers; at its small weights the gradient is small, not the curvature."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 1, bias=False)).double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(0.3)

    def loss(self, batch: Tensor) -> Tensor:
        """The mean squared error of a sum."""
        return (self.layers(batch).squeeze(1) - batch.sum(1)).square().mean()


def train(watch: PlateauWatch, **settings: Any) -> tuple[float, int]:
    """Trains by gradient descent; gives the last loss and how often the watch spoke."""
    model = TwoLayers()
    sam = SAM(model, **settings)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(1)
    said = 0
    for step in range(STEPS):
        batch = torch.randn(16, 4, generator=generator, dtype=torch.float64)
        sam.at(step, STEPS)
        info = sam(model.loss, batch)
        optimizer.step()
        optimizer.zero_grad()
        if info.cosine is not None and info.ascent_loss is not None:
            said += watch(float(info.ascent_loss), info.cosine)
    return model.loss(batch).item(), said


def test_a_radius_that_is_too_large_is_told_once() -> None:
    """From the first step on, a large rho holds the network at its start, and the watch says so once."""
    loss, said = train(PlateauWatch(0.25), rho=0.5)
    assert said == 1
    assert loss > 2  # the mean square of the sum of four numbers is 4


@pytest.mark.parametrize("schedule", [{"start": 0.2}, {"start": 0.1, "warmup": 0.3}], ids=str)
def test_a_schedule_cures_it(schedule: dict[str, float]) -> None:
    """After a start without SAM, or warmed up, the same radius lets the network learn; nothing is said."""
    loss, said = train(PlateauWatch(0.25), rho=0.5, **schedule)
    assert said == 0
    assert loss < 0.4  # a tenth of the loss at the start


def test_a_small_radius_is_not_told() -> None:
    """With a small radius the network learns from the first step on, and nothing is said."""
    loss, said = train(PlateauWatch(0.25), rho=0.05)
    assert said == 0 and loss < 0.4


def test_what_is_told() -> None:
    """The watch speaks where the loss stands and the cosine is low, in no other case, and never twice."""
    stands, falls = [1.0] * 40, [1.0 - 0.02 * step for step in range(40)]
    for losses, cosine, expected in ((stands, 0.3, 1), (stands, 0.4, 0), (falls, 0.3, 0), (falls, 0.4, 0)):
        watch = PlateauWatch(0.25)
        assert sum(watch(loss, cosine) for loss in losses) == expected
