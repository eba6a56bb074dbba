"""One test for each property that SAM must have."""

from __future__ import annotations

import pytest
import torch
from tests.conformance.implementations import Implementation
from tests.sam.test_reference import loss_at
from tests.sam.toys import Batch, batch_of, distance, loss_of, mlp, weights
from torch import Tensor, nn

from lowland.sam.reference import asam_gradient, sam_gradient


def test_algorithm(implementation: Implementation) -> None:
    """A step of SGD is w - lr g_adv, with the g_adv of Algorithm 1 and a = b/4."""
    model = mlp()
    batch = batch_of(8)
    gradient = sam_gradient(loss_at(model), list(model.parameters()), batch, rho=0.5, a=2)
    expected = [w - 0.1 * g for w, g in zip(weights(model), gradient, strict=True)]
    implementation.start(model, rho=0.5, a=2, lr=0.1).step(loss_of(model), batch)
    assert distance(weights(model), expected) < 1e-7  # a norm summed in fp32 is precise enough


def test_radius(implementation: Implementation) -> None:
    """The radius is rho over all parameters of all groups together."""
    model = mlp()
    points: list[list[Tensor]] = []

    def loss_fn(batch: Batch) -> Tensor:
        points.append(weights(model))
        return loss_of(model)(batch)

    groups = [{"params": list(model[0].parameters())}, {"params": list(model[2].parameters()), "lr": 0.01}]
    implementation.start(groups, rho=0.3, a=2, lr=0.1).step(loss_fn, batch_of(8))
    square = sum(float((a - b).square().sum()) for a, b in zip(*points, strict=True))
    assert square**0.5 == pytest.approx(0.3, rel=1e-6)  # a norm summed in fp32 is precise enough


def test_adaptive(implementation: Implementation) -> None:
    """Where SAM is adaptive (ASAM), a step of SGD is w - lr g_adv at w_adv = w + rho w^2 g / ‖w g‖."""
    model, batch = mlp(), batch_of(8)
    gradient = asam_gradient(loss_at(model), list(model.parameters()), batch, rho=2.0, a=2)
    expected = [w - 0.1 * g for w, g in zip(weights(model), gradient, strict=True)]
    implementation.start(model, rho=2.0, a=2, lr=0.1, adaptive=True).step(loss_of(model), batch)
    assert distance(weights(model), expected) < 1e-7  # a norm summed in fp32 is precise enough


def test_storage(implementation: Implementation) -> None:
    """Every weight stays in its storage, in both passes and after them."""
    model = mlp()
    addresses = [parameter.data_ptr() for parameter in model.parameters()]

    def loss_fn(batch: Batch) -> Tensor:
        assert [parameter.data_ptr() for parameter in model.parameters()] == addresses
        return loss_of(model)(batch)

    implementation.start(model, rho=0.3, a=2, lr=0.1).step(loss_fn, batch_of(8))
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses


def test_optimizer_state(implementation: Implementation) -> None:
    """Between steps a checkpoint holds, for each parameter, what the optimizer alone would store, no more."""
    model, other = mlp(), mlp()
    training = implementation.start(model, rho=0.1, a=2, base=torch.optim.AdamW, lr=0.1)
    training.step(loss_of(model), batch_of(8))
    alone = torch.optim.AdamW(other.parameters(), lr=0.1)
    loss_of(other)(batch_of(8)).backward()  # type: ignore[no-untyped-call]
    alone.step()
    state, expected = training.optimizer.state_dict()["state"], alone.state_dict()["state"]
    assert {key: set(value) for key, value in state.items()} == {k: set(v) for k, v in expected.items()}


def test_tied_weights(implementation: Implementation) -> None:
    """A weight used in two places is perturbed once: the radius is rho."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 6, bias=False))
    model[2].weight = model[0].weight
    points: list[Tensor] = []

    def loss_fn(batch: Batch) -> Tensor:
        points.append(model[0].weight.detach().clone())
        return loss_of(model)(batch)

    implementation.start(model, rho=0.3, a=2, lr=0.1).step(loss_fn, batch_of(8, torch.float32))
    assert float((points[1] - points[0]).norm()) == pytest.approx(0.3, rel=1e-5)  # fp32


def test_sparse_gradients(implementation: Implementation) -> None:
    """An embedding with sparse gradients is perturbed by rho and steps."""
    model = nn.Embedding(10, 3, sparse=True)
    points: list[Tensor] = []

    def loss_fn(batch: Tensor) -> Tensor:
        points.append(model.weight.detach().clone())
        return (model(batch) - 1.0).square().mean()

    implementation.start(model, rho=0.3, a=2, lr=0.1).step(loss_fn, torch.tensor([1, 3, 3, 7]))
    assert float((points[1] - points[0]).norm()) == pytest.approx(0.3, rel=1e-5)  # fp32
    assert not torch.equal(model.weight[7], points[0][7])


def test_report(implementation: Implementation) -> None:
    """With bf16 weights, in which most of epsilon rounds away, what is left of it is reported."""
    model = mlp(torch.bfloat16)
    points: list[list[Tensor]] = []

    def loss_fn(batch: Batch) -> Tensor:
        points.append(weights(model))
        return loss_of(model)(batch)

    training = implementation.start(model, rho=0.002, a=2, lr=0.1)
    training.step(loss_fn, batch_of(8, torch.bfloat16))
    pairs = list(zip(*points, strict=True))
    square = sum(float((a.double() - b.double()).square().sum()) for a, b in pairs)
    share = sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)
    radius, moved = training.measured()
    assert radius == pytest.approx(square**0.5, rel=1e-5)  # summed in fp32
    assert moved == share < 0.7
