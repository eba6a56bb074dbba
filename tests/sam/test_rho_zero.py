"""Property 1: rho = 0 is standard training, bit for bit, for the ascent leaves everything as it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.sam.toys import SAM, Batch, batch_of, gradients, loss_of, mlp, noisy, same
from torch import Tensor, nn

from lowland import StandardGradient

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "adafactor": lambda parameters: torch.optim.Adafactor(parameters, lr=0.01),
}


def train(
    how: str, optimizer_name: str, micro_batch_size: int | None = None, with_module: bool = True
) -> list[Tensor]:
    """Trains five steps with dropout, BatchNorm and clipping; gives the whole state dict."""
    model = noisy()
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    source = model if with_module else model.parameters()
    gradient = {
        "sam": lambda: SAM(source, rho=0.0, ascent=0.5, micro_batch_size=micro_batch_size),
        "baseline": lambda: StandardGradient(source, micro_batch_size=micro_batch_size),
        "backward": lambda: None,
    }[how]()
    loss_fn = loss_of(model)
    torch.manual_seed(7)
    for step in range(5):
        batch = batch_of(8, torch.float32, seed=step)
        if gradient is None:
            loss_fn(batch).backward()
        else:
            gradient(loss_fn, batch)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return list(model.state_dict().values())


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("how", ["sam", "baseline"])
@pytest.mark.parametrize("with_module", [True, False], ids=["module", "parameters"])
def test_equals_loss_backward(how: str, optimizer_name: str, with_module: bool) -> None:
    """Five steps at rho = 0, with dropout and BatchNorm, end in the very state of loss.backward()."""
    assert same(train(how, optimizer_name, with_module=with_module), train("backward", optimizer_name))


def test_equals_standard_in_micro_batches() -> None:
    """In micro-batches, too, rho = 0 equals the standard gradient bit for bit."""
    assert same(train("sam", "adamw", micro_batch_size=4), train("baseline", "adamw", micro_batch_size=4))


def test_sam_is_not_standard() -> None:
    """With rho > 0 the same training ends elsewhere, so that the equality above says something."""
    model, other = noisy(), noisy()
    SAM(model, rho=0.05, ascent=0.5)(loss_of(model), batch_of(8, torch.float32))
    StandardGradient(other)(loss_of(other), batch_of(8, torch.float32))
    assert not same(gradients(model), gradients(other))


def test_random_streams_are_left() -> None:
    """The descent draws from Python, NumPy and PyTorch what it would have drawn without an ascent."""
    model = mlp()
    drawn: list[tuple[float, float, float]] = []

    def loss_fn(batch: Batch) -> Tensor:
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
        return loss_of(model)(batch)

    def seed() -> None:
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)

    seed()
    SAM(model)(loss_fn, batch_of(8))
    after = random.random(), float(np.random.rand()), float(torch.rand(()))
    seed()
    expected = [(random.random(), float(np.random.rand()), float(torch.rand(()))) for _ in range(2)]
    assert drawn == [expected[0], expected[0]]
    assert after == expected[1]


class Counting(nn.Module):
    """Changes its buffers in every way: in place, by another tensor, and from None."""

    calls: Tensor
    mean: Tensor
    late: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(6, dtype=torch.float64))
        self.register_buffer("late", None)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        self.late = x.detach().sum() if self.late is None else self.late + x.detach().sum()
        return self.inner(x)


@pytest.mark.parametrize("with_module", [True, False], ids=["module", "parameters"])
def test_buffers_are_left(with_module: bool) -> None:
    """Buffers end as after one pass over the batch, however the model writes to them."""
    model, other = Counting(), Counting()
    batch = batch_of(8)
    SAM(model if with_module else model.parameters())(loss_of(model), batch)
    loss_of(other)(batch)
    assert int(model.calls) == 1
    assert same(list(model.buffers()), list(other.buffers()))
    assert same(model.late, other.late)


@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_found_gradients_are_added_to(rho: float) -> None:
    """A gradient that was there is kept through the ascent and added to once, in the tensor it was in."""
    model, fresh = mlp(), mlp()
    batch = batch_of(8)
    found = [torch.full_like(parameter, 0.5) for parameter in model.parameters()]
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        parameter.grad = gradient
    SAM(model, rho=rho)(loss_of(model), batch)
    SAM(fresh, rho=rho)(loss_of(fresh), batch)
    expected = [0.5 + p.grad for p in fresh.parameters() if p.grad is not None]
    assert same(gradients(model), expected)
    assert all(p.grad is gradient for p, gradient in zip(model.parameters(), found, strict=True))


def test_found_gradients_survive_a_failing_ascent() -> None:
    """An exception in the ascent leaves the gradients that were there, and adds nothing."""
    model = mlp()
    loss_of(model)(batch_of(8)).backward()
    before = gradients(model)

    def loss_fn(batch: Batch) -> Tensor:
        loss_of(model)(batch).backward()
        raise RuntimeError("in the ascent")

    with pytest.raises(RuntimeError, match="in the ascent"):
        SAM(model)(loss_fn, batch_of(8))
    assert same(gradients(model), before)
