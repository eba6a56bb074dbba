"""Property 3: the radius is rho, over all perturbed parameters together; without a direction it is 0."""

from __future__ import annotations

import math

import pytest
import torch
from tests.sam.toys import SAM, Batch, batch_of, gradients, loss_of, mlp, same, weights
from torch import Tensor, nn

from lowland.parameters.norms import global_norm


def displacement(model: nn.Module, sam: SAM, batch: Batch) -> tuple[float, float]:
    """Takes a step; gives ||w_adv - w|| and the share of weights that moved, both seen from outside."""
    points: list[list[Tensor]] = []

    def loss_fn(batch: Batch) -> Tensor:
        points.append(weights(model))
        return loss_of(model)(batch)

    sam(loss_fn, batch)
    pairs = list(zip(points[-1], points[0], strict=True))
    square = sum(float((a.double() - b.double()).square().sum()) for a, b in pairs)
    moved = sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)
    return math.sqrt(square), moved


@pytest.mark.parametrize("rho", [0.001, 0.05, 0.15, 2.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)], ids=str)
def test_radius_is_rho(rho: float, dtype: torch.dtype, tolerance: float) -> None:
    """The weights move by rho in all, in fp64 and fp32, and the info says so."""
    model = mlp(dtype)
    sam = SAM(model, rho=rho)
    measured, moved = displacement(model, sam, batch_of(8, dtype))
    info = sam(loss_of(model), batch_of(8, dtype))
    # Rounding of w + epsilon: 6e-8 relative to weights of 0.3, on 92 weights, at the smallest rho of 0.001.
    assert measured == pytest.approx(rho, rel=tolerance)
    assert info.radius == pytest.approx(measured, rel=1e-6)  # the info is summed in fp32
    assert info.moved == moved


def test_bf16_weights_report_what_arrived() -> None:
    """With bf16 weights most of a small epsilon rounds away, and the info gives what is left, as measured."""
    model = mlp(torch.bfloat16)
    sam = SAM(model, rho=0.002)
    measured, moved = displacement(model, sam, batch_of(8, torch.bfloat16))
    info = sam(loss_of(model), batch_of(8, torch.bfloat16))
    assert 0 < moved < 0.7  # spacing of bf16 at 0.3 is 0.002: most steps are below half of it
    assert abs(measured / 0.002 - 1) > 0.01
    assert info.moved == moved
    # Differences of bf16 numbers of one size are exact in bf16; the sum is taken in fp32.
    assert info.radius == pytest.approx(measured, rel=1e-5)


def test_norm_is_global_and_not_squared() -> None:
    """The step to w_adv is rho g / ||g|| with the one norm of all tensors together, element by element."""
    model = mlp()
    batch = batch_of(4)
    expected = torch.autograd.grad(loss_of(model)(batch), list(model.parameters()))
    norm = torch.cat([g.flatten() for g in expected]).norm()
    points: list[list[Tensor]] = []

    def loss_fn(batch: Batch) -> Tensor:
        points.append(weights(model))
        return loss_of(model)(batch)

    info = SAM(model, rho=0.3, ascent=1.0)(loss_fn, batch)
    for w, w_adv, g in zip(*points, expected, strict=True):
        # 1e-14: a few roundings of float64 numbers below 1.
        assert torch.allclose(w_adv - w, 0.3 * g / norm, rtol=0, atol=1e-14)
    assert info.ascent_norm == pytest.approx(float(norm), rel=1e-14)


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.float16, 300.0), (torch.float16, 1e-4), (torch.bfloat16, 1.0)], ids=str
)
def test_norm_is_summed_in_fp32(dtype: torch.dtype, value: float) -> None:
    """Squares that overflow or vanish in fp16, and sums too long for bf16, still give the norm."""
    tensors = [torch.full((3000,), value, dtype=dtype), torch.full((5, 200), value, dtype=dtype)]
    expected = float(tensors[0][0]) * math.sqrt(4000)
    assert global_norm(tensors) == pytest.approx(expected, rel=1e-5)  # fp32 sums of 4000 equal squares


def test_norm_over_mixed_types() -> None:
    """Tensors of several types, with empty and 0-d ones among them, count together in one norm."""
    tensors = [
        torch.full((3,), 2.0, dtype=torch.bfloat16),
        torch.tensor(4.0, dtype=torch.float64),
        torch.zeros(0),
        torch.full((2, 2), 1.0),
    ]
    assert global_norm(tensors) == pytest.approx(math.sqrt(12 + 16 + 4), rel=1e-7)  # fp32 roots, squared
    assert global_norm([]) == 0.0


def test_zero_ascent_gradient() -> None:
    """A zero ascent gradient leaves w where it is: the gradient is the standard one, and the radius is 0."""
    model, other = mlp(), mlp()

    def zero_on_few(model: nn.Module, batch: Batch) -> Tensor:
        return loss_of(model)(batch) * (0.0 if len(batch["x"]) == 2 else 1.0)

    info = SAM(model)(lambda batch: zero_on_few(model, batch), batch_of(8))
    loss_of(other)(batch_of(8)).backward()
    assert same(gradients(model), gradients(other))
    assert (info.radius, info.moved, info.ascent_norm) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_ascent_gradient(bad: float) -> None:
    """An ascent gradient that is not finite leaves w where it is: the standard gradient, and radius 0."""
    model, other = mlp(), mlp()

    def bad_on_few(batch: Batch) -> Tensor:
        return loss_of(model)(batch) * (bad if len(batch["x"]) == 2 else 1.0)

    info = SAM(model)(bad_on_few, batch_of(8))
    loss_of(other)(batch_of(8)).backward()
    assert same(gradients(model), gradients(other))
    assert info.radius == info.moved == 0.0
    assert info.ascent_norm is not None and not math.isfinite(info.ascent_norm)


@pytest.mark.parametrize("size", [1e-44, 1e-40, 1e-30])
def test_tiny_ascent_gradient(size: float) -> None:
    """However small the ascent gradient, w_adv is finite and within rho of w."""
    w = nn.Parameter(torch.tensor([1.0]))
    seen: list[float] = []

    def loss_fn(batch: Tensor) -> Tensor:
        seen.append(w.item())
        return (w * size).sum() * batch.mean()

    info = SAM([w], rho=0.1)(loss_fn, torch.ones(4))
    assert math.isfinite(seen[1]) and abs(seen[1] - 1.0) <= 0.1 + 1e-7  # fp32 rounding of 1.1
    assert info.radius == pytest.approx(abs(seen[1] - 1.0), abs=1e-9)


def test_weights_that_cannot_hold_the_point() -> None:
    """Where w + epsilon overflows the weights' type, w stays and the radius is 0."""
    w = nn.Parameter(torch.tensor([65000.0, 1.0], dtype=torch.float16))
    seen: list[Tensor] = []

    def loss_fn(batch: Tensor) -> Tensor:
        seen.append(w.detach().clone())
        return (w.float() * torch.tensor([1.0, 0.5])).sum() * batch.mean()

    sam = SAM([w])
    sam.rho = 5000.0
    info = sam(loss_fn, torch.ones(4))
    assert same(seen[0], seen[1])
    assert info.radius == info.moved == 0.0


def test_info() -> None:
    """The info gives the loss at w_adv, the ascent examples' loss at w, their gradient's norm, and m."""
    model = mlp()
    batch = batch_of(8)
    seen: list[float] = []

    def loss_fn(batch: Batch) -> Tensor:
        loss = loss_of(model)(batch)
        seen.append(loss.item())
        return loss

    info = SAM(model, rho=0.5)(loss_fn, batch)
    assert info.ascent_loss is not None
    assert [float(info.ascent_loss), float(info.loss)] == seen
    assert info.loss.shape == info.ascent_loss.shape == ()
    assert not info.loss.requires_grad and not info.ascent_loss.requires_grad
    assert info.points == 1
    info = SAM(model, rho=0.5, m=2, descent="full")(loss_fn, batch)
    assert float(info.loss) == pytest.approx((seen[3] + seen[5]) / 2, rel=1e-12)  # mean of float64
    assert info.points == 2 and info.radius == pytest.approx(0.5, rel=1e-12)


def test_not_measured() -> None:
    """Without measuring, the gradient is the same bit for bit, and what would be measured is not known."""
    model, other = mlp(), mlp()
    measured = SAM(model, m=2)(loss_of(model), batch_of(8))
    info = SAM(other, m=2, measure=False)(loss_of(other), batch_of(8))
    assert same(gradients(model), gradients(other))
    assert info.radius is None and info.moved is None
    assert info.ascent_norm == measured.ascent_norm and info.points == 2


def test_narrow_types_are_always_measured() -> None:
    """Weights of 16 bits, which may not hold w_adv, are measured and kept even where it was not asked for."""
    w = nn.Parameter(torch.tensor([65000.0, 1.0], dtype=torch.float16))
    before = w.detach().clone()
    seen: list[Tensor] = []

    def loss_fn(batch: Tensor) -> Tensor:
        seen.append(w.detach().clone())
        return (w.float() * torch.tensor([1.0, 0.5])).sum() * batch.mean()

    sam = SAM([w], measure=False)
    sam.rho = 5000.0
    info = sam(loss_fn, torch.ones(4))
    assert same([before], seen[1:])
    assert info.radius == info.moved == 0.0
