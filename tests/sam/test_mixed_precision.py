"""Autocast and GradScaler, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, batch_of, distance, gradients, loss_of, mlp, same, weights
from torch import Tensor, nn

from lowland import StandardGradient

TYPES = [torch.bfloat16, torch.float16]


def cast_loss(model: nn.Module, dtype: torch.dtype) -> Callable[[Batch], Tensor]:
    """The loss with autocast inside."""

    def loss_fn(batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=dtype):
            return loss_of(model)(batch)

    return loss_fn


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("options", [{}, {"micro_batch_size": 3}, {"m": 2}], ids=str)
def test_autocast_outside(dtype: torch.dtype, options: dict[str, Any]) -> None:
    """Autocast around the whole call equals autocast inside the loss: no cast of w is used at w_adv."""
    inside, outside = mlp(torch.float32), mlp(torch.float32)
    batch = batch_of(8, torch.float32)
    SAM(inside, rho=0.5, **options)(cast_loss(inside, dtype), batch)
    with torch.autocast("cpu", dtype=dtype):
        SAM(outside, rho=0.5, **options)(loss_of(outside), batch)
        after = loss_of(outside)(batch)
    assert same(gradients(inside), gradients(outside))
    # And no cast of w_adv is used afterwards.
    assert torch.equal(after, cast_loss(inside, dtype)(batch))


def test_autocast_after_an_error() -> None:
    """A descent that fails inside autocast leaves no cast of w_adv behind."""
    model = mlp(torch.float32)
    batch = batch_of(8, torch.float32)
    expected = cast_loss(model, torch.bfloat16)(batch)

    def loss_fn(part: Batch) -> Tensor:
        loss = loss_of(model)(part)
        if len(part["x"]) == 8:
            raise RuntimeError
        return loss

    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(RuntimeError):
            SAM(model, rho=0.5)(loss_fn, batch)
        after = loss_of(model)(batch)
    assert torch.equal(after, expected)


def test_autocast_keeps_fp32_weights_moving() -> None:
    """With fp32 weights under bf16 autocast epsilon arrives whole."""
    model = mlp(torch.float32)
    info = SAM(model, rho=0.002)(cast_loss(model, torch.bfloat16), batch_of(8, torch.float32))
    # Rounding of fp32 weights of 0.3 is 1e-5 of the mean step.
    assert info.radius == pytest.approx(0.002, rel=1e-4)


def scaled_step(
    bad: str | None = None, make: Any = SAM, enabled: bool = True, **options: Any
) -> dict[str, Any]:
    """One step of SGD under a GradScaler, in which the loss may overflow in the ascent or the descent."""
    model = mlp(torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000, enabled=enabled)
    before = weights(model)

    def loss_fn(batch: Batch) -> Tensor:
        loss = cast_loss(model, torch.float16)(batch)
        where = "ascent" if len(batch["x"]) == 2 else "descent"
        return loss * math.inf if where == bad else loss

    info = make(model, scaler=scaler, **options)(loss_fn, batch_of(8, torch.float32))
    at_step = weights(model)
    scaler.unscale_(optimizer)
    found = gradients(model)
    scaler.step(optimizer)
    scaler.update()
    return {
        "info": info,
        "weights": weights(model),
        "stepped": not same(weights(model), before),
        "restored": same(at_step, before),
        "gradients": found,
        "scale": scaler.get_scale(),
    }


@pytest.mark.parametrize("bad", ["ascent", "descent"])
def test_overflow(bad: str) -> None:
    """An overflow in either pass skips the step, lowers the scale, and leaves the weights."""
    result = scaled_step(bad)
    assert result["restored"] and not result["stepped"]
    assert result["scale"] == 512.0


def test_overflow_with_sparse_gradients() -> None:
    """An overflow in the ascent makes sparse gradients non-finite, too."""
    model = nn.Embedding(5, 2, sparse=True)
    scaler = torch.amp.GradScaler("cpu")

    def loss_fn(batch: Tensor) -> Tensor:
        return model(batch).square().mean() * (math.inf if len(batch) == 1 else 1.0)

    SAM(model, scaler=scaler)(loss_fn, torch.arange(4))
    assert model.weight.grad is not None
    assert not model.weight.grad.coalesce().values().isfinite().any()


def test_scale_does_not_matter() -> None:
    """Without overflow the step is that of training without a scaler, and the norm is given unscaled."""
    result = scaled_step()
    model = mlp(torch.float32)
    info = SAM(model)(cast_loss(model, torch.float16), batch_of(8, torch.float32))
    assert result["stepped"] and result["scale"] == 1024.0
    # fp16 carries 3 digits; gradients are of order 0.1. Multiplying by a power of two changes only underflow.
    assert distance(result["gradients"], gradients(model)) < 1e-4
    assert result["info"].ascent_norm == pytest.approx(info.ascent_norm, rel=1e-3)
    assert result["info"].radius == pytest.approx(0.15, rel=1e-5)  # fp32
    assert float(result["info"].loss) == pytest.approx(float(info.loss), rel=1e-3)


def test_rho_zero_under_a_scaler() -> None:
    """At rho = 0 a scaled step is the standard scaled step, bit for bit."""
    sam, standard = scaled_step(rho=0.0), scaled_step(make=StandardGradient)
    assert same(sam["weights"], standard["weights"])
    assert standard["stepped"]


def test_disabled_scaler() -> None:
    """With a scaler that is switched off, an overflow of the ascent leaves the standard gradient, finite."""
    result = scaled_step("ascent", enabled=False)
    assert result["restored"] and result["stepped"]
    assert all(g.isfinite().all() for g in result["gradients"])
    assert result["info"].radius == 0.0


def test_closure_path_is_refused() -> None:
    """`scaler.step(sam, closure)`, which elsewhere steps with scaled gradients, is an error."""
    model = mlp()
    scaler = torch.amp.GradScaler("cpu")
    sam = SAM(model, scaler=scaler)
    sam(loss_of(model), batch_of(8))
    with pytest.raises(AttributeError, match="has no attribute"):
        scaler.step(sam, lambda: torch.zeros(()))  # type: ignore[arg-type]
