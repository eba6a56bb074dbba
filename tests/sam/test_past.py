"""Directions that are made of the steps before: previous (S2-SAM) and momentum (MSAM)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, Tagger, batch_of, gradients, loss_of, mlp, same, token_batch, weights
from torch import Tensor, nn

from lowland import SAMGradient, StandardGradient

RATE, RHO = 0.5, 0.3
EXPECTED = {"previous": (0.0, 1.0), "momentum": (0.9, -1.0)}


def reference(direction: str, steps: int) -> list[Tensor]:
    """The algorithm out of place, with gradient descent: the weights after some steps."""
    decay, sign = EXPECTED[direction]
    model = mlp()
    names = [name for name, _ in model.named_parameters()]
    w = weights(model)
    d: list[Tensor] | None = None
    for step in range(steps):
        w_adv = w
        if d is not None:
            norm = torch.sqrt(sum((d_i.square().sum() for d_i in d), torch.zeros(())))
            w_adv = [w_i + RHO * d_i / norm for w_i, d_i in zip(w, d, strict=True)]
        w_adv = [w_i.detach().requires_grad_() for w_i in w_adv]
        batch = batch_of(8, seed=step)
        logits = torch.func.functional_call(model, dict(zip(names, w_adv, strict=True)), (batch["x"],))
        g = torch.autograd.grad(nn.functional.cross_entropy(logits, batch["y"]), w_adv)
        d = [sign * g_i + (decay * d[i] if d is not None else 0.0) for i, g_i in enumerate(g)]
        w = [w_i - RATE * g_i for w_i, g_i in zip(w, g, strict=True)]
    return w


def descend(model: nn.Module, sam: SAMGradient, steps: range, **changes: Any) -> None:
    """Takes steps of gradient descent."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for step in steps:
        sam(loss_of(model), batch_of(8, seed=step), **changes)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("direction", EXPECTED)
@pytest.mark.parametrize("options", [{}, {"micro_batch_size": 3}, {"measure": False}], ids=str)
def test_follows_the_reference(direction: Any, options: dict[str, Any]) -> None:
    """Five steps end where the algorithm written out ends, also in micro-batches."""
    model = mlp()
    descend(model, SAM(model, direction=direction, rho=RHO, **options), range(5))
    for weight, expected in zip(weights(model), reference(direction, 5), strict=True):
        # 1e-12: float64 rounding of weights of order 1.
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-12)


def test_one_pass_a_step() -> None:
    """The loss function is called once a step, with the whole batch, from the second step on at w_adv."""
    model = mlp()
    sam = SAM(model, direction="previous", rho=RHO)
    calls: list[tuple[int, list[Tensor]]] = []

    def loss_fn(batch: Batch) -> Tensor:
        calls.append((len(batch["x"]), weights(model)))
        return loss_of(model)(batch)

    before = weights(model)
    infos = [sam(loss_fn, batch_of(8)) for _ in range(2)]
    assert [size for size, _ in calls] == [8, 8]
    assert same(calls[0][1], before) and same(weights(model), before)
    square = sum(float((a - b).square().sum()) for a, b in zip(calls[1][1], before, strict=True))
    assert math.sqrt(square) == pytest.approx(RHO, abs=1e-12)  # float64
    assert [info.radius for info in infos] == [0.0, pytest.approx(RHO, abs=1e-12)]
    assert infos[1].ascent_loss is None and [info.points for info in infos] == [0, 1]


@pytest.mark.parametrize("direction", EXPECTED)
def test_rho_zero_is_standard(direction: Any) -> None:
    """At rho = 0 the gradients are those of standard training bit for bit."""
    model, other = mlp(), mlp()
    past, standard = SAM(model, direction=direction, rho=0.0), StandardGradient(other)
    for seed in range(3):
        past(loss_of(model), batch_of(8, seed=seed))
        standard(loss_of(other), batch_of(8, seed=seed))
        assert same(gradients(model), gradients(other))
        model.zero_grad()
        other.zero_grad()


@pytest.mark.parametrize("direction", EXPECTED)
def test_goes_on_from_its_state(direction: Any) -> None:
    """A gradient that loads another's state goes on as that would have, bit for bit."""
    whole, first = mlp(), mlp()
    descend(whole, SAM(whole, direction=direction, rho=RHO), range(5))
    sam = SAM(first, direction=direction, rho=RHO)
    descend(first, sam, range(2))
    state = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    assert sorted(state) == sorted(name for name, _ in first.named_parameters())
    second = mlp(seed=1)
    second.load_state_dict(first.state_dict())
    resumed = SAM(second, direction=direction, rho=RHO)
    resumed.load_state_dict(state)
    descend(second, resumed, range(2, 5))
    assert same(weights(second), weights(whole))


@pytest.mark.parametrize("direction", EXPECTED)
def test_found_gradients_are_added_to(direction: Any) -> None:
    """Gradients that are there before the step are added to, and are no part of the direction."""
    model, other = mlp(), mlp()
    past, clean = (SAM(m, direction=direction, rho=RHO) for m in (model, other))
    for seed in range(3):
        found = [torch.full_like(p, 100.0) for p in model.parameters()]
        for parameter, gradient in zip(model.parameters(), found, strict=True):
            parameter.grad = gradient.clone()
        past(loss_of(model), batch_of(8, seed=seed))
        clean(loss_of(other), batch_of(8, seed=seed))
        assert same(gradients(model), [p.grad + 100.0 for p in other.parameters() if p.grad is not None])
        other.zero_grad()


@pytest.mark.parametrize("direction", EXPECTED)
def test_a_gradient_that_is_not_finite_is_forgotten(direction: Any) -> None:
    """After a gradient that is not finite one step is a standard one, and the weights stay finite."""
    model = mlp()
    sam = SAM(model, direction=direction, rho=RHO)
    radii = []
    for factor in (1.0, math.nan, 1.0, 1.0):
        info = sam(lambda batch, factor=factor: loss_of(model)(batch) * factor, batch_of(8))
        radii.append(info.radius)
        model.zero_grad()
    assert radii == [0.0, pytest.approx(RHO), 0.0, pytest.approx(RHO)]
    assert all(bool(w.isfinite().all()) for w in weights(model))


def test_weights_are_restored_after_an_error() -> None:
    """When the loss fails at w_adv, the weights and the gradients that were found are as before."""
    model = mlp()
    sam = SAM(model, direction="previous", rho=RHO)
    sam(loss_of(model), batch_of(8))
    before, found = weights(model), gradients(model)

    def failing(batch: Batch) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sam(failing, batch_of(8))
    assert same(weights(model), before) and same(gradients(model), found)


def test_sparse_gradients() -> None:
    """Sparse gradients of an embedding give the same direction as dense ones."""
    points = []
    for sparse in (False, True):
        model = Tagger(sparse=sparse)
        sam = SAM(model, direction="previous", rho=RHO)
        seen: list[list[Tensor]] = []

        def loss_fn(batch: Batch, model: Tagger = model, seen: list[list[Tensor]] = seen) -> Tensor:
            seen.append(weights(model))
            return model.loss(batch)

        for _ in range(2):
            sam(loss_fn, token_batch([3, 4]))
            model.zero_grad()
        points.append(seen[1])
    for dense, other in zip(*points, strict=True):
        torch.testing.assert_close(dense, other, rtol=0, atol=1e-12)  # sums in another order


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "ahead"}, "Invalid direction='ahead'"),
        ({"direction": "previous", "m": 2}, "Invalid direction='previous' with m=2"),
        ({"direction": "momentum", "every": 2}, "Invalid direction='momentum' with m=1 and every=2"),
        ({"direction": "previous", "scaler": torch.amp.GradScaler("cpu")}, "scaler= does not go with"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    """What makes no sense without an ascent pass is refused with a sentence."""
    with pytest.raises(ValueError, match=message):
        SAM(mlp(), **options)


def test_a_state_of_another_model_is_refused() -> None:
    """A state that names parameters that are not there is refused, and so is any state of what has none."""
    state = {"elsewhere": torch.zeros(1)}
    with pytest.raises(ValueError, match="'elsewhere', which is not there"):
        SAM(mlp(), direction="previous").load_state_dict(state)
    with pytest.raises(ValueError, match="StandardGradient has no state"):
        StandardGradient(mlp()).load_state_dict(state)
