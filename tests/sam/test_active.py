"""SAM in some of the steps only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, batch_of, gradients, loss_of, noisy, same, weights

from lowland import StandardGradient


@pytest.mark.parametrize("direction", ["ascent", "previous", "momentum"])
def test_while_not_active_steps_are_standard(direction: Any) -> None:
    """A step while SAM is not active is the standard one bit for bit, dropout and BatchNorm included."""
    model, other = noisy(), noisy()
    sam = SAM(model, direction=direction)
    sam.active = False
    torch.manual_seed(3)
    info = sam(loss_of(model), batch_of(8, torch.float32))
    torch.manual_seed(3)
    expected = StandardGradient(other)(loss_of(other), batch_of(8, torch.float32))
    assert same(gradients(model), gradients(other))
    assert same(list(model.buffers()), list(other.buffers()))
    assert info == expected and info.points == 0
    sam.active = True
    before = weights(model)
    points = [sam(loss_of(model), batch_of(8, torch.float32)).points for _ in range(2)]
    assert points == [direction == "ascent", True]
    assert same(weights(model), before)
