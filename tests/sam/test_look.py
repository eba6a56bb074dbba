"""LookSAM: steps between those of SAM that lean as SAM's last did."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.sam.toys import (
    Batch,
    Tagger,
    batch_of,
    distance,
    gradients,
    loss_of,
    mlp,
    same,
    token_batch,
    weights,
)
from torch import Tensor, nn

from lowland import SAM, StandardGradient
from lowland.sam import LookSAMGradient

RATE, RHO, ALPHA, EVERY = 0.5, 0.3, 0.7, 3


def dot(left: list[Tensor], right: list[Tensor]) -> Tensor:
    """The scalar product over all tensors together."""
    return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum()


def reference(steps: int, ascent: int, adaptive: bool = False) -> list[Tensor]:
    """Algorithm 1 of Liu et al. out of place, with gradient descent: the weights after some steps."""
    model = mlp()
    names = [name for name, _ in model.named_parameters()]
    w, g_v = weights(model), weights(model)

    def gradient(at: list[Tensor], batch: Batch) -> list[Tensor]:
        at = [w_i.detach().requires_grad_() for w_i in at]
        logits = torch.func.functional_call(model, dict(zip(names, at, strict=True)), (batch["x"],))
        return list(torch.autograd.grad(nn.functional.cross_entropy(logits, batch["y"]), at))

    for step in range(steps):
        batch = batch_of(8, seed=step)
        if step % EVERY == 0:
            g = gradient(w, {name: part[:ascent] for name, part in batch.items()})
            norm = dot(g, g).sqrt()
            sizes = [w_i.abs() if adaptive else torch.ones_like(w_i) for w_i in w]
            scaled = [size * g_i for size, g_i in zip(sizes, g, strict=True)]
            length = dot(scaled, scaled).sqrt()
            w_adv = [w_i + RHO * size * s_i / length for w_i, size, s_i in zip(w, sizes, scaled, strict=True)]
            g_s = gradient(w_adv, batch)
            cosine = dot(g, g_s) / (norm * dot(g_s, g_s).sqrt())
            g_v = [s_i - dot(g_s, g_s).sqrt() * cosine * g_i / norm for s_i, g_i in zip(g_s, g, strict=True)]
        else:
            g = gradient(w, batch)
            share = ALPHA * dot(g, g).sqrt() / dot(g_v, g_v).sqrt()
            g_s = [g_i + share * v_i for g_i, v_i in zip(g, g_v, strict=True)]
        w = [w_i - RATE * g_i for w_i, g_i in zip(w, g_s, strict=True)]
    return w


def descend(model: nn.Module, sam: SAM, steps: range) -> None:
    """Takes steps of gradient descent, every third of them SAM's."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for step in steps:
        sam.active = step % EVERY == 0
        sam(loss_of(model), batch_of(8, seed=step))
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("ascent", [2, 8])
@pytest.mark.parametrize(
    "options",
    [{}, {"micro_batch_size": 3}, {"measure": False}, {"swap": True}, {"adaptive": True}],
    ids=str,
)
def test_follows_the_reference(ascent: int, options: dict[str, Any]) -> None:
    """Seven steps end where the paper's algorithm written out ends, also in micro-batches."""
    model = mlp()
    descend(model, LookSAMGradient(model, alpha=ALPHA, rho=RHO, ascent=ascent, **options), range(7))
    # 1e-12: float64 rounding of weights of order 1.
    assert distance(weights(model), reference(7, ascent, "adaptive" in options)) < 1e-12
    other = mlp()
    descend(other, SAM(other, rho=RHO, ascent=ascent, **options), range(7))
    assert distance(weights(model), weights(other)) > 1e-2  # leaning is not nothing


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_steps_of_sam_are_sams(adaptive: bool) -> None:
    """An active step gives SAM's gradient and figures bit for bit, and keeps a unit direction across g."""
    model, other = mlp(), mlp()
    look = LookSAMGradient(model, rho=RHO, adaptive=adaptive)
    info = look(loss_of(model), batch_of(8))
    assert info == SAM(other, rho=RHO, adaptive=adaptive)(loss_of(other), batch_of(8))
    assert same(gradients(model), gradients(other)) and same(weights(model), weights(other))
    names = dict(model.named_parameters())
    direction = [look.state_dict()[name] for name in names]
    first = {name: part[:2] for name, part in batch_of(8).items()}
    ascent = torch.autograd.grad(loss_of(model)(first), list(names.values()))
    # 1e-12: float64 rounding of sums of a hundred terms of order 1.
    assert float(dot(direction, direction)) == pytest.approx(1.0, abs=1e-12)
    assert float(dot(direction, list(ascent))) == pytest.approx(0.0, abs=1e-12)


def test_between_them_one_pass_is_taken() -> None:
    """A step between calls the loss once, at w, with the whole batch."""
    model = mlp()
    look = LookSAMGradient(model, rho=RHO)
    look(loss_of(model), batch_of(8))
    look.active = False
    before, calls = weights(model), []

    def loss_fn(batch: Batch) -> Tensor:
        calls.append((len(batch["x"]), same(weights(model), before)))
        return loss_of(model)(batch)

    info = look(loss_fn, batch_of(8))
    assert calls == [(8, True)] and info.points == 0


def test_goes_on_from_its_state() -> None:
    """A gradient that loads another's state goes on as that would have, bit for bit."""
    whole, first = mlp(), mlp()
    descend(whole, LookSAMGradient(whole, rho=RHO), range(6))
    look = LookSAMGradient(first, rho=RHO)
    descend(first, look, range(5))
    state = {name: tensor.clone() for name, tensor in look.state_dict().items()}
    assert sorted(state) == sorted(name for name, _ in first.named_parameters())
    second = mlp(seed=1)
    second.load_state_dict(first.state_dict())
    resumed = LookSAMGradient(second, rho=RHO)
    resumed.load_state_dict(state)
    descend(second, resumed, range(5, 6))
    assert same(weights(second), weights(whole))


def test_found_gradients_are_added_to() -> None:
    """Gradients that are there before the step are added to, and are no part of direction or length."""
    model, other = mlp(), mlp()
    look, clean = (LookSAMGradient(m, rho=RHO) for m in (model, other))
    for step in range(3):
        look.active = clean.active = step == 0
        found = [torch.full_like(p, 100.0) for p in model.parameters()]
        for parameter, gradient in zip(model.parameters(), found, strict=True):
            parameter.grad = gradient.clone()
        look(loss_of(model), batch_of(8, seed=step))
        clean(loss_of(other), batch_of(8, seed=step))
        assert same(gradients(model), [p.grad + 100.0 for p in other.parameters() if p.grad is not None])
        other.zero_grad()


@pytest.mark.parametrize("factor", [math.nan, math.inf, 0.0])
def test_without_a_direction_steps_between_are_standard(factor: float) -> None:
    """After a step of SAM whose gradients are zero or not finite, the steps between are standard ones."""
    model, other = mlp(), mlp()
    look = LookSAMGradient(model, rho=RHO)
    look(loss_of(model), batch_of(8))  # there was one before
    model.zero_grad()
    look(lambda batch: loss_of(model)(batch) * factor, batch_of(8))
    model.zero_grad()
    look.active = False
    look(loss_of(model), batch_of(8))
    StandardGradient(other)(loss_of(other), batch_of(8))
    assert look.state_dict() == {} and same(gradients(model), gradients(other))


@pytest.mark.parametrize("ascent", [0.25, 1.0])
def test_rho_zero_is_standard_training(ascent: float) -> None:
    """At rho = 0 SAM has no part that is flat, and all steps are standard ones bit for bit."""
    model, other = mlp(), mlp()
    look = LookSAMGradient(model, rho=0.0, ascent=ascent)
    for step in range(4):
        look.active = step % 2 == 0
        look(loss_of(model), batch_of(8, seed=step))
        StandardGradient(other)(loss_of(other), batch_of(8, seed=step))
        assert same(gradients(model), gradients(other))
        model.zero_grad()
        other.zero_grad()


class Forking(nn.Module):
    """One layer for batches of up to four examples, and another one for larger batches."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.few, self.many, self.both = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 4)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        part = self.few if len(x) <= 4 else self.many
        return self.both(torch.tanh(part(x)))  # type: ignore[no-any-return]


def test_a_missing_gradient_is_zero() -> None:
    """Weights that only one of two passes uses are part of the angle, the direction and the steps between."""
    model, other = Forking(), Forking()
    look = LookSAMGradient(model, alpha=ALPHA, rho=RHO, ascent=2)
    look(loss_of(model), batch_of(8))
    g_s = [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters()]
    first = {name: part[:2] for name, part in batch_of(8).items()}
    found = torch.autograd.grad(loss_of(other)(first), list(other.parameters()), allow_unused=True)
    g = [f if f is not None else torch.zeros_like(p) for f, p in zip(found, other.parameters(), strict=True)]
    v = [s_i - dot(g, g_s) / dot(g, g) * g_i for s_i, g_i in zip(g_s, g, strict=True)]
    v = [v_i / dot(v, v).sqrt() for v_i in v]
    assert float(dot(v[2:4], v[2:4])) > 0.1  # of what only the whole batch uses
    model.zero_grad()
    look.active = False
    look(loss_of(model), batch_of(8, seed=5))
    StandardGradient(other)(loss_of(other), batch_of(8, seed=5))
    plain = [p.grad if p.grad is not None else torch.zeros_like(p) for p in other.parameters()]
    expected = [p_i + ALPHA * dot(plain, plain).sqrt() * v_i for p_i, v_i in zip(plain, v, strict=True)]
    assert distance(gradients(model), expected) < 1e-12  # float64, numbers of order 1


def test_only_what_is_perturbed_leans() -> None:
    """Angle, direction and length are over the weights that are perturbed; others keep their gradients."""
    model, other = mlp(), mlp()
    look = LookSAMGradient(model, rho=RHO, alpha=ALPHA, perturb=["2.*"])
    look(loss_of(model), batch_of(8))
    v = look.state_dict()
    assert sorted(v) == ["2.bias", "2.weight"]
    model.zero_grad()
    look.active = False
    look(loss_of(model), batch_of(8))
    StandardGradient(other)(loss_of(other), batch_of(8))
    mine, plain = ([p.grad for p in m.parameters() if p.grad is not None] for m in (model, other))
    assert same(mine[:2], plain[:2])
    length = ALPHA * dot(plain[2:], plain[2:]).sqrt()
    expected = [plain[2] + length * v["2.weight"], plain[3] + length * v["2.bias"]]
    assert distance(mine[2:], expected) < 1e-12  # float64, numbers of order 1


def test_the_scale_of_fp16_makes_no_difference() -> None:
    """Under a scaler whose scale changes, gradients are those without one, times the scale."""
    model, other = mlp(), mlp()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    look, plain = LookSAMGradient(model, rho=RHO, scaler=scaler), LookSAMGradient(other, rho=RHO)
    for step in range(3):
        look.active = plain.active = step == 0
        look(loss_of(model), batch_of(8, seed=step))
        plain(loss_of(other), batch_of(8, seed=step))
        scale = scaler.get_scale()
        # Powers of two change no digit, but for the ascent's: rho / norm rounds elsewhere.
        expected = [p.grad * scale for p in other.parameters() if p.grad is not None]
        assert distance(gradients(model), expected) < 1e-12 * scale
        scaler.update(new_scale=2.0 ** (10 - step - 1))
        model.zero_grad()
        other.zero_grad()


def test_an_error_leaves_everything_in_its_place() -> None:
    """When the loss fails at w_adv, weights and gradients that were found are as before."""
    model = mlp()
    look = LookSAMGradient(model, rho=RHO)
    look(loss_of(model), batch_of(8))
    before, found = weights(model), gradients(model)
    calls = 0

    def failing(batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ZeroDivisionError
        return loss_of(model)(batch)

    with pytest.raises(ZeroDivisionError):
        look(failing, batch_of(8))
    assert same(weights(model), before) and same(gradients(model), found)


def test_sparse_gradients_are_left_out() -> None:
    """A table whose gradients are sparse keeps its own gradient, and the others lean without it."""
    model, other = Tagger(sparse=True), Tagger(sparse=True)
    look = LookSAMGradient(model, rho=RHO)
    look(model.loss, token_batch([3, 4]))
    assert sorted(look.state_dict()) == ["out.bias", "out.weight"]
    model.zero_grad()
    look.active = False
    look(model.loss, token_batch([3, 4]))
    StandardGradient(other)(other.loss, token_batch([3, 4]))
    left, right = model.embedding.weight.grad, other.embedding.weight.grad
    assert left is not None and right is not None and torch.equal(left.to_dense(), right.to_dense())
    assert model.out.weight.grad is not None and other.out.weight.grad is not None
    assert not torch.equal(model.out.weight.grad, other.out.weight.grad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, r"Invalid alpha=0\.0\. Must be a finite number > 0"),
        ({"alpha": math.inf}, "Invalid alpha=inf"),
        ({"alpha": True}, "Invalid alpha=True"),
        ({"m": 2}, "m=2 does not go with LookSAM"),
        ({"ranks": "own"}, "ranks='own' does not go with LookSAM"),
        ({"row_gradients": True}, "row_gradients=True does not go with LookSAM"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    """What LookSAM cannot do is refused with a sentence."""
    with pytest.raises(ValueError, match=message):
        LookSAMGradient(mlp(), **options)
