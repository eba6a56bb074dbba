"""One test for each defect that was found in implementations of SAM."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from tests.conformance.implementations import Implementation, refusal
from tests.sam.toys import Batch, batch_of, distance, loss_of, mlp, noisy, same, weights
from torch import Tensor, nn

from lowland import SAM, SAMConfig

F32 = torch.float32


def trained(
    implementation: Implementation, model: nn.Module, steps: int, rho: float = 0.1, **options: Any
) -> list[Tensor]:
    """Trains steps and gives the state of the model."""
    training = implementation.start(model, rho=rho, a=4, **{"lr": 0.1, **options})
    torch.manual_seed(7)
    for step in range(steps):
        training.step(loss_of(model), batch_of(8, F32, seed=step))
    return list(model.state_dict().values())


def test_resume(implementation: Implementation) -> None:
    """Training resumed from a checkpoint ends where it would have without the break, momentum included."""
    options: Any = {"rho": 0.1, "a": 4, "lr": 0.1, "momentum": 0.9}
    model, resumed = mlp(F32), mlp(F32, seed=1)
    training = implementation.start(model, **options)
    for step in range(3):
        training.step(loss_of(model), batch_of(8, F32, seed=step))
    checkpoint = copy.deepcopy((model.state_dict(), training.optimizer.state_dict()))
    again = implementation.start(resumed, **options)
    resumed.load_state_dict(checkpoint[0])
    again.optimizer.load_state_dict(checkpoint[1])
    for step in range(3, 6):
        training.step(loss_of(model), batch_of(8, F32, seed=step))
        again.step(loss_of(resumed), batch_of(8, F32, seed=step))
    assert same(weights(model), weights(resumed))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_error_in_the_descent(implementation: Implementation, error: type[BaseException]) -> None:
    """An exception or a Ctrl-C in the second pass leaves the weights at w."""
    model = mlp(F32)
    before = weights(model)
    training = implementation.start(model, rho=0.5, a=4, lr=0.1)

    def loss_fn(batch: Batch) -> Tensor:
        if len(batch["x"]) == 8:
            raise error
        return loss_of(model)(batch)

    with pytest.raises(error):
        training.step(loss_fn, batch_of(8, F32))
    assert same(weights(model), before)


def test_gradient_in_the_first_pass_only(implementation: Implementation) -> None:
    """A parameter that has a gradient in the first pass only is at w after the step."""
    model = nn.ModuleList([nn.Linear(6, 4), nn.Linear(6, 4)])
    before = weights(model[1])
    training = implementation.start(model, rho=0.5, a=4, lr=0.1)

    def loss_fn(batch: Batch) -> Tensor:
        logits = model[0](batch["x"])
        if len(batch["x"]) == 4:
            logits = logits + model[1](batch["x"])
        return nn.functional.cross_entropy(logits, batch["y"])

    training.step(loss_fn, batch_of(8, F32))
    assert same(weights(model[1]), before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_ascent(implementation: Implementation, bad: float) -> None:
    """An ascent gradient that is not finite does not end in NaN weights."""
    model = mlp(F32)
    training = implementation.start(model, rho=0.5, a=4, lr=0.1)

    def loss_fn(batch: Batch) -> Tensor:
        return loss_of(model)(batch) * (bad if len(batch["x"]) == 4 else 1.0)

    training.step(loss_fn, batch_of(8, F32))
    assert all(weight.isfinite().all() for weight in weights(model))


def test_zero_ascent(implementation: Implementation) -> None:
    """An ascent gradient of zero gives the standard step."""
    model, other = mlp(F32), mlp(F32)
    training = implementation.start(model, rho=0.5, a=4, lr=0.1)

    def loss_fn(batch: Batch) -> Tensor:
        return loss_of(model)(batch) * (0.0 if len(batch["x"]) == 4 else 1.0)

    training.step(loss_fn, batch_of(8, F32))
    loss_of(other)(batch_of(8, F32)).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(other.parameters(), lr=0.1).step()
    assert same(weights(model), weights(other))


def half_loss(model: nn.Module, calls: list[int] | None = None, bad: int | None = None) -> Any:
    """The loss under fp16 autocast; the pass on `bad` examples overflows."""

    def loss_fn(batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = loss_of(model)(batch)
        return loss * (math.inf if len(batch["x"]) == bad else 1.0)

    return loss_fn


def unscaled(rho: float = 0.1) -> list[Tensor]:
    """The weights after the same step without any scaler, by lowland, whose step is tested elsewhere."""
    model = mlp(F32)
    SAM(model, SAMConfig(rho=rho, ascent_examples=4))(half_loss(model), batch_of(8, F32))
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return weights(model)


def test_grad_scaler(implementation: Implementation) -> None:
    """A step under a GradScaler is the step without one, up to the rounding of fp16."""
    model = mlp(F32)
    training = implementation.start(model, rho=0.1, a=4, lr=0.1)
    training.step_scaled(torch.amp.GradScaler("cpu", init_scale=1024.0), half_loss(model), batch_of(8, F32))
    # fp16 carries 3 digits; the step is 0.1 times gradients of order 0.1.
    assert distance(weights(model), unscaled()) < 1e-4


@pytest.mark.parametrize("bad", [4, 8], ids=["ascent", "descent"])
def test_grad_scaler_overflow(implementation: Implementation, bad: int) -> None:
    """An overflow in either pass skips the step, leaves the weights and lowers the scale."""
    model = mlp(F32)
    before = weights(model)
    training = implementation.start(model, rho=0.1, a=4, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    training.step_scaled(scaler, half_loss(model, bad=bad), batch_of(8, F32))
    assert same(weights(model), before)
    assert scaler.get_scale() == 512.0


def test_grad_scaler_closure(implementation: Implementation) -> None:
    """`scaler.step(optimizer, closure)` steps rightly or refuses, but never steps 1024 times too far."""
    model = mlp(F32)
    before = weights(model)
    training = implementation.start(model, rho=0.1, a=4, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with refusal():
        training.step_closure(scaler, half_loss(model), batch_of(8, F32))
    # 1e-4: the rounding of fp16, as above.
    assert same(weights(model), before) or distance(weights(model), unscaled()) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_drift(implementation: Implementation, dtype: torch.dtype) -> None:
    """With a learning rate of zero twenty steps leave every weight bit for bit, in fp32 and bf16."""
    model = mlp(dtype)
    before = weights(model)
    training = implementation.start(model, rho=0.5, a=4, lr=0.0)
    for step in range(20):
        training.step(loss_of(model), batch_of(8, dtype, seed=step))
    assert same(weights(model), before)


def test_fp16_norm(implementation: Implementation) -> None:
    """A gradient whose norm is beyond the range of fp16 still gives a radius of rho with fp16 weights."""
    w = nn.Parameter(torch.zeros(100, dtype=torch.float16))
    points: list[Tensor] = []

    def loss_fn(batch: Tensor) -> Tensor:
        points.append(w.detach().double())
        return (w * 30000.0).sum() * batch.mean().half()

    implementation.start([w], rho=1.0, a=2, lr=0.0).step(loss_fn, torch.ones(4))
    # fp16 carries 3 digits; the norm is 300000.
    assert float((points[1] - points[0]).norm()) == pytest.approx(1.0, rel=2e-3)


def test_rho_zero(implementation: Implementation) -> None:
    """At rho = 0, with dropout, training is that of the optimizer alone, bit for bit."""
    model, other = noisy(), noisy()
    for one in (model, other):  # BatchNorm has a test of its own
        one[1] = nn.Identity()
    trained(implementation, model, 3, rho=0.0)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    torch.manual_seed(7)
    for step in range(3):
        loss_of(other)(batch_of(8, F32, seed=step)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    assert same(weights(model), weights(other))


def test_batch_norm(implementation: Implementation) -> None:
    """BatchNorm's statistics count each example once."""
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4))
    other = copy.deepcopy(model)
    trained(implementation, model, 1)
    other(batch_of(8, F32, seed=0)["x"])
    assert same(list(model.buffers()), list(other.buffers()))


def test_accumulation(implementation: Implementation) -> None:
    """A batch that comes in micro-batches of 3 and 5 examples gives the step of the whole batch."""
    model, other = mlp(), mlp()
    batch = batch_of(8)
    pieces = [
        {key: value[:3] for key, value in batch.items()},
        {key: value[3:] for key, value in batch.items()},
    ]
    implementation.start(model, rho=0.1, a=4, lr=0.1).step_accumulating(loss_of(model), pieces)
    implementation.start(other, rho=0.1, a=4, lr=0.1).step(loss_of(other), batch)
    assert distance(weights(model), weights(other)) < 1e-13  # float64 sums in another order


def test_schedule(implementation: Implementation) -> None:
    """A schedule changes the learning rate with which the weights really move."""
    model = mlp(F32)
    training = implementation.start(model, rho=0.1, a=4, lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(training.optimizer, lambda step: 0.0 if step else 1.0)
    before = weights(model)
    training.step(loss_of(model), batch_of(8, F32))
    after = weights(model)
    schedule.step()
    training.step(loss_of(model), batch_of(8, F32))
    assert distance(before, after) > 1e-3
    assert distance(weights(model), after) < 1e-6  # exactness has a test of its own


def test_add_param_group(implementation: Implementation) -> None:
    """A group that is added to the optimizer is perturbed and trained from then on."""
    model = mlp(F32)
    points: list[Tensor] = []

    def loss_fn(batch: Batch) -> Tensor:
        points.append(model[2].weight.detach().clone())
        return loss_of(model)(batch)

    training = implementation.start(list(model[0].parameters()), rho=0.1, a=4, lr=0.1)
    training.optimizer.add_param_group({"params": list(model[2].parameters())})
    training.step(loss_fn, batch_of(8, F32))
    assert float((points[0] - points[1]).abs().max()) > 1e-3
    assert float((points[0] - model[2].weight).detach().abs().max()) > 1e-3


def test_autocast_cache(implementation: Implementation) -> None:
    """A training step inside one autocast block uses no cast of w at w_adv."""
    model, other = mlp(F32), mlp(F32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        implementation.start(model, rho=1.0, a=4, lr=0.1).step(loss_of(model), batch_of(8, F32))

    def loss_fn(batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss_of(other)(batch)

    implementation.start(other, rho=1.0, a=4, lr=0.1).step(loss_fn, batch_of(8, F32))
    assert same(weights(model), weights(other))
