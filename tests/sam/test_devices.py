"""The heart's promises on the CPU and, where there is one, on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, batch_of, distance, gradients, loss_of, mlp, noisy, same, weights
from torch import Tensor, nn

from lowland import StandardGradient
from lowland.sam.reference import sam_gradient

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=needs_cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device."""
    name: str = request.param
    return name


def batch_on(device: str, size: int = 8) -> Batch:
    """A batch on a device."""
    return {name: tensor.to(device) for name, tensor in batch_of(size, torch.float32).items()}


def cast_loss(model: nn.Module, device: str, dtype: torch.dtype) -> Callable[[Batch], Tensor]:
    """The loss with autocast inside."""

    def loss_fn(batch: Batch) -> Tensor:
        with torch.autocast(device, dtype=dtype):
            return loss_of(model)(batch)

    return loss_fn


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_gradient_is_that_of_the_reference(device: str, dtype: torch.dtype | None) -> None:
    """SAM's gradient is that of Algorithm 1 written out, in fp32 and under bf16, and w is as before."""
    model, batch = mlp(torch.float32).to(device), batch_on(device)
    names, before = [name for name, _ in model.named_parameters()], weights(model)

    def loss(w: Any, part: Batch) -> Tensor:
        def call(x: Tensor) -> Tensor:
            return torch.func.functional_call(model, dict(zip(names, w, strict=True)), (x,))

        with torch.autocast(device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            return nn.functional.cross_entropy(call(part["x"]), part["y"])

    expected = sam_gradient(loss, list(model.parameters()), batch, rho=0.1, a=2)
    info = SAM(model, rho=0.1)(cast_loss(model, device, dtype) if dtype else loss_of(model), batch)
    # fp32: rounding of sums of eight rows. bf16: a product of three digits may round the other way.
    assert distance(gradients(model), expected) < (1e-6 if dtype is None else 2e-2)
    assert same(weights(model), before)
    assert info.radius == pytest.approx(0.1, rel=1e-5)


def test_no_radius_is_the_baseline(device: str) -> None:
    """At rho = 0 gradient, buffers and the random stream are the baseline's bit for bit, dropout on."""
    found = []
    for make in (lambda model: SAM(model, rho=0.0), StandardGradient):
        model = noisy().to(device)
        gradient = make(model)
        torch.manual_seed(5)
        for _ in range(2):
            gradient(loss_of(model), batch_on(device))
        found.append((gradients(model), list(model.buffers()), torch.rand(4, device=device)))
    assert all(same(*pair) for pair in zip(*found, strict=True))


def test_weights_come_back_after_an_error(device: str) -> None:
    """An exception at w_adv leaves every weight bit for bit what it was."""
    model = mlp(torch.float32).to(device)
    before = weights(model)

    def loss_fn(batch: Batch) -> Tensor:
        if len(batch["x"]) == 8:
            assert not same(weights(model), before)
            raise RuntimeError("out of memory")
        return loss_of(model)(batch)

    with pytest.raises(RuntimeError, match="out of memory"):
        SAM(model, rho=0.5)(loss_fn, batch_on(device))
    assert same(weights(model), before)


@pytest.mark.parametrize("bad", [None, 2, 8], ids=["finite", "ascent", "descent"])
def test_scaler(device: str, bad: int | None) -> None:
    """Under fp16 a finite step is taken, and one that overflows in either pass is skipped."""
    model = mlp(torch.float32).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(device, init_scale=1024.0)
    before = weights(model)

    def loss_fn(batch: Batch) -> Tensor:
        loss = cast_loss(model, device, torch.float16)(batch)
        return loss * torch.inf if len(batch["x"]) == bad else loss

    SAM(model, scaler=scaler)(loss_fn, batch_on(device))
    assert same(weights(model), before)
    scaler.step(optimizer)
    scaler.update()
    assert same(weights(model), before) == (bad is not None)
    assert scaler.get_scale() == (1024.0 if bad is None else 512.0)


@needs_cuda
@pytest.mark.slow
def test_compiled_model_on_cuda() -> None:
    """A compiled model's SAM gradient is the eager one's up to rounding."""
    model, other = mlp(torch.float32).cuda(), mlp(torch.float32).cuda()
    compiled: Any = torch.compile(model)
    SAM(compiled, rho=0.3)(loss_of(compiled), batch_on("cuda"))
    SAM(other, rho=0.3)(loss_of(other), batch_on("cuda"))
    assert distance(gradients(model), gradients(other)) < 1e-5  # fp32, operations in another order


@needs_cuda
def test_memory_on_cuda() -> None:
    """SAM's peak of memory is above the baseline's by at most one copy of the weights."""
    peaks = {}
    for make in (StandardGradient, SAM):
        model = nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(8)]).cuda()
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        gradient, batch = make(model), torch.randn(8, 1024, device="cuda")
        for _ in range(2):  # the second step finds memory as a training does
            torch.cuda.reset_peak_memory_stats()
            gradient(lambda rows, model=model: model(rows).square().mean(), batch)
            model.zero_grad()
        peaks[make] = torch.cuda.max_memory_allocated()
    assert peaks[SAM] - peaks[StandardGradient] <= 1.1 * size  # a tenth for what the allocator rounds up
