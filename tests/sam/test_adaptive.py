"""Adaptive SAM (ASAM): the perturbation of each weight is measured by the weight's size."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.sam.test_reference import loss_at
from tests.sam.toys import SAM, Batch, batch_of, distance, gradients, loss_of, mlp, same, weights
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

import lowland
from lowland.sam.perturb import perturbed
from lowland.sam.reference import asam_gradient, sam_gradient


@pytest.mark.parametrize("rho", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("options", [{}, {"micro_batch_size": 5}, {"measure": False}], ids=str)
def test_follows_the_reference(rho: float, options: dict[str, Any]) -> None:
    """The gradient is that of the equation written out, whole and in micro-batches, and not plain SAM's."""
    model, batch = mlp(), batch_of(12)
    parameters = list(model.parameters())
    expected = asam_gradient(loss_at(model), parameters, batch, rho=rho, a=3)
    plain = sam_gradient(loss_at(model), parameters, batch, rho=rho, a=3)
    before = weights(model)
    SAM(model, rho=rho, ascent=3, adaptive=True, **options)(loss_of(model), batch)
    # 1e-13: float64 in another order, and sums of micro-batches.
    assert distance(gradients(model), expected) < 1e-13
    assert distance(gradients(model), plain) > 1e-4
    assert same(weights(model), before)


def test_radius_is_relative_to_the_weights() -> None:
    """||(w_adv - w) / |w||| is rho, weights of zero stay zero, and the info says so."""
    model = mlp()
    with torch.no_grad():
        model[0].bias.zero_()  # type: ignore[union-attr]
    points: list[list[Tensor]] = []

    def loss_fn(batch: Batch) -> Tensor:
        points.append(weights(model))
        return loss_of(model)(batch)

    info = SAM(model, rho=0.7, adaptive=True)(loss_fn, batch_of(8))
    w, w_adv = (torch.cat([tensor.flatten() for tensor in point]) for point in points)
    relative = ((w_adv - w) / w)[w != 0]
    assert torch.equal(w_adv[w == 0], w[w == 0]) and len(relative) == len(w) - 8
    # 1e-12: float64, divided by weights of 0.01.
    assert math.sqrt(float(relative.square().sum())) == pytest.approx(0.7, rel=1e-12)
    assert info.radius == pytest.approx(0.7, rel=1e-12)
    assert info.moved == len(relative) / len(w)


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_scaling_a_layer_up_and_the_next_down_changes_nothing(scale: float) -> None:
    """Two networks that compute the same by other weights have one loss at w_adv, unlike in plain SAM."""

    def losses(factor: float, adaptive: bool) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False)).double()
        with torch.no_grad():
            model[0].weight.mul_(factor)
            model[2].weight.div_(factor)
        return float(SAM(model, rho=0.5, adaptive=adaptive)(loss_of(model), batch_of(8)).loss)

    # 1e-12: rounding of float64 weights that were scaled.
    assert losses(scale, True) == pytest.approx(losses(1.0, True), abs=1e-12)
    assert abs(losses(scale, False) - losses(1.0, False)) > 1e-3


def test_rho_zero_is_standard() -> None:
    """At rho = 0 the gradient is the standard one, bit for bit."""
    model, other = mlp(), mlp()
    SAM(model, rho=0.0, adaptive=True)(loss_of(model), batch_of(8))
    loss_of(other)(batch_of(8)).backward()
    assert same(gradients(model), gradients(other))


def test_without_a_direction_the_step_is_standard() -> None:
    """Where no perturbed weight has a gradient, or all of them are zero, the step is a standard one."""
    model, other = nn.Sequential(*mlp(), nn.Identity()), mlp()
    model.unused = nn.Linear(2, 2).double()  # type: ignore[assignment]

    def loss_fn(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model[:3](batch["x"]), batch["y"])

    info = SAM(model, perturb=["unused*"], adaptive=True)(loss_fn, batch_of(8))
    loss_of(other)(batch_of(8)).backward()
    assert info.radius == 0.0
    assert same([p.grad for p in model[:3].parameters() if p.grad is not None], gradients(other))
    w = nn.Parameter(torch.zeros(3))
    assert (
        SAM([w], adaptive=True)(lambda batch: ((w - 1) ** 2).sum() * batch.mean(), torch.ones(4)).radius == 0
    )


def test_the_direction_is_freed_before_the_descent() -> None:
    """At w_adv nothing is left of the ascent gradient, though it was measured."""
    w = nn.Parameter(torch.ones(5))
    direction = torch.arange(1.0, 6.0)
    storage = StorageWeakRef(direction.untyped_storage())
    gradients = [direction]
    del direction
    with perturbed([w], gradients, 0.5, adaptive=True) as done:
        assert done.radius == pytest.approx(0.5, rel=1e-6)  # fp32
        assert storage.expired() and not gradients
    assert torch.equal(w.detach(), torch.ones(5))


@pytest.mark.parametrize("adaptive", ["no", 1, None])
def test_only_true_or_false(adaptive: Any) -> None:
    """What is not true or false is refused, wherever it is given."""
    for build in (lambda: SAM(mlp(), adaptive=adaptive), lambda: lowland.SAMConfig(adaptive=adaptive)):
        with pytest.raises(ValueError, match="Invalid adaptive="):
            build()


@pytest.mark.parametrize("adaptive", [True, False])
def test_fp16_takes_what_its_kernels_can_multiply(adaptive: bool) -> None:
    """Where rho / ||g|| is more than fp16 can hold, the step is a standard one."""
    w = nn.Parameter(torch.ones(4, dtype=torch.float16))
    info = SAM([w], rho=0.5, adaptive=adaptive)(
        lambda batch: (w * 2e-6).sum() * batch.mean(), torch.ones(4).half()
    )
    assert info.radius == 0.0 and torch.equal(w.detach(), torch.ones(4).half())


@pytest.mark.parametrize("measure", [True, False])
def test_directions_of_the_past_stay_what_they_are(measure: bool) -> None:
    """The momentum that gives the direction is not scaled with it: it goes on as 0.9 d - g."""
    model = mlp()
    sam = SAM(model, direction="momentum", rho=0.5, adaptive=True, measure=measure)
    sam(loss_of(model), batch_of(8))
    before = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    model.zero_grad()
    sam(loss_of(model), batch_of(8, seed=2))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(
            sam.state_dict()[name], 0.9 * before[name] - parameter.grad, rtol=0, atol=0
        )
