"""SAM against trajectories that another implementation, in JAX and float64, gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM
from torch import Tensor, nn

NAMES = ("w1", "b1", "w2", "b2")


class OneHiddenLayer(nn.Module):
    """The oracle's model: h = tanh(x w1 + b1), logits = h w2 + b2."""

    def __init__(self, init: dict[str, Any]) -> None:
        super().__init__()
        for name in NAMES:
            setattr(self, name, nn.Parameter(torch.tensor(init[name], dtype=torch.float64)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.w1 + self.b1) @ self.w2 + self.b2


def optimizer_of(name: str, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizers of the oracle, by its names."""
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.1)
    if name == "momentum":
        return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def run(case: dict[str, Any], micro_batch_size: int | None = None) -> float:
    """Runs a case and returns the largest difference from the oracle."""
    model = OneHiddenLayer(case["init"])
    optimizer = optimizer_of(case["optimizer"], model)
    sam = SAM(
        model.parameters(),
        rho=case["rho"],
        ascent=case["ascent_size"],
        m=case["m"],
        descent=case["descent"],
        micro_batch_size=micro_batch_size,
    )

    def loss_fn(batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    worst = 0.0

    def compare(values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        nonlocal worst
        for name in NAMES:
            expected = torch.tensor(values[name], dtype=torch.float64)
            worst = max(worst, float((tensors[name] - expected).abs().max()))

    for step in range(1, case["steps"] + 1):
        x = torch.tensor(case["inputs"][step - 1], dtype=torch.float64)
        y = torch.tensor(case["targets"][step - 1])
        with torch.no_grad():
            worst = max(worst, abs(float(loss_fn((x, y))) - case["loss_before_step"][step - 1]))
        sam(loss_fn, (x, y))
        if step == 1:
            compare(case["first_gradient"], {name: getattr(model, name).grad for name in NAMES})
        optimizer.step()
        optimizer.zero_grad()
        if step in case["param_steps"]:
            values = case["params_after_step"][case["param_steps"].index(step)]
            compare(values, {name: getattr(model, name).detach() for name in NAMES})
    return worst


@pytest.mark.parametrize("micro_batch_size", [None, 3], ids=["whole", "micro-batches of 3"])
def test_every_trajectory_of_the_oracle(shared: Path, micro_batch_size: int | None) -> None:
    """All 32 float64 trajectories agree to 1e-12, whole and in micro-batches."""
    cases = json.loads((shared / "oracle" / "sam_trajectories.json").read_text())["cases"]
    assert len(cases) == 32
    # 1e-12: float64 sums of 12 steps in another order; the weights are of order 1.
    worst = {case["seed"]: run(case, micro_batch_size) for case in cases}
    assert max(worst.values()) < 1e-12, worst
