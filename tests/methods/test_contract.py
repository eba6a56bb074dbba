"""What holds for every method, whatever it does to direction, radius or descent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, batch_of, distance, gradients, loss_of, mlp, noisy, same, weights
from torch import Tensor, nn

from lowland import SAMGradient, StandardGradient

METHODS: dict[str, dict[str, Any]] = {
    "functional": {"functional": True},
    "functional, preconditioned": {"functional": True, "precondition": True},
    "functional, two points": {"functional": True, "m": 2},
    "preconditioned": {"precondition": True},
    "preconditioned momentum": {"precondition": True, "direction": "momentum"},
    "fisher": {"fisher": 0.1},
    "head": {"perturb": "head"},
    "noise": {"direction": "noise"},
    "rise": {"rise": 0.1},
    "all together": {"functional": True, "precondition": True, "fisher": 0.5, "rise": 0.1, "adaptive": True},
}
pytestmark = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def prepared(model: nn.Module, method: dict[str, Any], rho: float = 0.3, **loop: Any) -> SAMGradient:
    """SAM by a method, with AdamW as its optimizer."""
    sam = SAM(model, rho=rho, **method, **loop)
    sam.optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    return sam


def steps(model: nn.Module, gradient: StandardGradient, optimizer: Any, seeds: range) -> list[Any]:
    """Takes steps; returns the gradients of each."""
    found = []
    for seed in seeds:
        dtype = next(model.parameters()).dtype
        gradient(loss_of(model), batch_of(12, dtype, seed=seed))
        found.append(gradients(model))
        optimizer.step()
        optimizer.zero_grad()
    return found


def test_rho_zero_is_the_baseline(method: dict[str, Any]) -> None:
    """At rho = 0, dropout and BatchNorm included, every gradient, weight and buffer is the baseline's."""
    if method.get("m"):
        pytest.skip("the shares of m points are passes of their own for BatchNorm and dropout")
    model, other = noisy(), noisy()
    sam = prepared(model, method, rho=0.0)
    optimizer = torch.optim.AdamW(other.parameters(), lr=0.02)
    torch.manual_seed(5)
    found = steps(model, sam, sam.optimizer, range(4))
    torch.manual_seed(5)
    assert same(found, steps(other, StandardGradient(other), optimizer, range(4)))
    assert same(list(model.state_dict().values()), list(other.state_dict().values()))


def test_weights_are_back_after_an_error(method: dict[str, Any]) -> None:
    """Whichever pass fails, weights, gradients and hooks are as before, and the next step is right."""
    for failing in range(4):
        model, other = mlp(), mlp()
        sam, clean = prepared(model, method), prepared(other, method)
        before, calls = weights(model), 0

        def loss_fn(batch: Batch, model: nn.Module = model, failing: int = failing) -> Tensor:
            nonlocal calls
            calls += 1
            loss = loss_of(model)(batch)
            if calls == failing + 1:
                raise ZeroDivisionError
            return loss

        try:
            sam(loss_fn, batch_of(12))
        except ZeroDivisionError:
            assert same(gradients(model), [None] * len(before)) or method.get("m")
        assert same(weights(model), before)
        assert not any(part._forward_hooks for part in model.modules())
        model.zero_grad()
        if calls <= failing:
            return  # all passes have failed once
        sam.load_state_dict(clean.state_dict())
        assert same(
            steps(model, sam, sam.optimizer, range(2)), steps(other, clean, clean.optimizer, range(2))
        )


def test_micro_batches_are_the_whole(method: dict[str, Any]) -> None:
    """A batch in pieces gives the gradient of the whole, over steps of training."""
    model, other = mlp(), mlp()
    sam, whole = prepared(model, method, micro_batch_size=5), prepared(other, method)
    pairs = zip(
        steps(model, sam, sam.optimizer, range(4)),
        steps(other, whole, whole.optimizer, range(4)),
        strict=True,
    )
    for left, right in pairs:
        # 1e-8: float64 sums in another order; AdamW divides by roots of second moments of order 1e-6.
        assert distance(left, right) < 1e-8


def test_goes_on_from_its_state(method: dict[str, Any]) -> None:
    """Saved after two steps and gone on with, training is bit for bit what it would have been."""
    whole, first = mlp(), mlp()
    sam = prepared(whole, method)
    steps(whole, sam, sam.optimizer, range(6))
    begun = prepared(first, method)
    steps(first, begun, begun.optimizer, range(2))
    assert begun.optimizer is not None
    saved, state = copy.deepcopy(begun.optimizer.state_dict()), copy.deepcopy(begun.state_dict())
    second = mlp(seed=1)
    second.load_state_dict(first.state_dict())
    resumed = prepared(second, method)
    assert resumed.optimizer is not None
    resumed.optimizer.load_state_dict(saved)
    resumed.load_state_dict(state)
    steps(second, resumed, resumed.optimizer, range(2, 6))
    assert same(weights(second), weights(whole))


def test_an_overflow_is_skipped(method: dict[str, Any]) -> None:
    """Under a scaler a gradient that is not finite, in any pass, skips the step and lowers the scale."""
    if method.get("direction") == "momentum":
        pytest.skip("momentum does not go with a scaler")
    model = mlp(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    sam = prepared(model, method, scaler=scaler)
    assert sam.optimizer is not None
    before = weights(model)
    scales = []
    for factor in (float("inf"), 1.0):
        sam(lambda batch, factor=factor: loss_of(model)(batch) * factor, batch_of(12, torch.float32))
        scaler.unscale_(sam.optimizer)
        scaler.step(sam.optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
        sam.optimizer.zero_grad()
        assert same(weights(model), before) == (factor != 1.0)
        assert all(bool(weight.isfinite().all()) for weight in weights(model))
    assert scales == [4.0, 4.0]


def test_an_ascent_that_is_not_finite_is_the_baselines_step(method: dict[str, Any]) -> None:
    """Where the ascent examples give no direction, the gradient is the baseline's."""
    if method.get("direction") or method.get("m"):
        pytest.skip("there is no ascent, or it is of the examples of the descent")
    model, other = mlp(), mlp()
    sam = prepared(model, method)

    def loss_fn(batch: Batch) -> Tensor:
        return loss_of(model)(batch) * (1.0 if len(batch["x"]) == 12 else float("nan"))

    info = sam(loss_fn, batch_of(12))
    StandardGradient(other)(loss_of(other), batch_of(12))
    assert info.radius == 0.0 and same(gradients(model), gradients(other))
