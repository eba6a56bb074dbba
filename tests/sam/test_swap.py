"""w_adv in the place of w: the same step as by writing over w, without its copies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import pytest
import torch
from tests.sam.toys import (
    Batch,
    Tagger,
    Words,
    batch_of,
    distance,
    loss_of,
    mlp,
    noisy,
    same,
    token_batch,
    weights,
    words_batch,
)
from torch import Tensor, nn

from lowland import SAM
from lowland.sam import LookSAMGradient, PastSAMGradient
from lowland.sam.perturb import perturb
from lowland.sam.weights import with_own_memory

Case: TypeAlias = tuple[nn.Module, Callable[[Batch], Tensor], Batch]


def classifier(model: nn.Module, dtype: torch.dtype) -> Case:
    """A model, its loss and a batch."""
    return model, loss_of(model), batch_of(16, dtype)


def language(model: Tagger | Words, batch: Batch) -> Case:
    """A model of words, its loss and a batch."""
    return model, model.loss, batch


CASES: dict[str, Callable[[], Case]] = {
    "dropout and BatchNorm": lambda: classifier(noisy(), torch.float32),
    "bf16": lambda: classifier(mlp(torch.bfloat16), torch.bfloat16),
    "sparse gradients": lambda: language(Tagger(sparse=True), token_batch([6, 2, 3, 1, 5, 6])),
    "tables": lambda: language(Words(), words_batch(8)),
    "tied": lambda: language(Words(tied=True), words_batch(8)),
}
GRADIENTS: dict[str, Callable[..., SAM]] = {
    "ascent": SAM,
    "m": partial(SAM, m=2),
    "adaptive": partial(SAM, adaptive=True),
    "micro-batches": partial(SAM, micro_batch_size=2, measure=False),
    "rows": partial(SAM, row_gradients=True),
    "look": LookSAMGradient,
    "previous": PastSAMGradient,
    "momentum": partial(PastSAMGradient, direction="momentum", measure=False),
}


def steps(case: str, gradient: str, swap: bool) -> tuple[list[Any], list[Any], bool]:
    """Takes three steps; gives weights, gradients, figures, and whether weights were elsewhere meanwhile."""
    model, loss, batch = CASES[case]()
    sam = GRADIENTS[gradient](model, rho=0.3, swap=swap)
    torch.manual_seed(0)
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    elsewhere = False

    def loss_fn(piece: Batch) -> Tensor:
        nonlocal elsewhere
        elsewhere = elsewhere or addresses != [parameter.data_ptr() for parameter in model.parameters()]
        return loss(piece)

    trace, seen = [], []
    for _ in range(3):
        model.zero_grad()
        before = weights(model)
        info = sam(loss_fn, batch)
        assert same(weights(model), before)
        assert addresses == [parameter.data_ptr() for parameter in model.parameters()]
        gradients = [None if p.grad is None else p.grad.to_dense().clone() for p in model.parameters()]
        trace.append((before, gradients, info.loss))
        seen.append((info.ascent_norm, info.radius, info.moved))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.add_(parameter.grad.to_dense(), alpha=-0.1)
    return trace, seen, elsewhere


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("case", CASES)
def test_the_same_step(case: str, gradient: str) -> None:
    """Losses, gradients and figures are bit for bit those of writing over w, which is at its place again."""
    swapped, figures, elsewhere = steps(case, gradient, swap=True)
    in_place, expected, stayed = steps(case, gradient, swap=False)
    assert elsewhere and not stayed
    assert figures == expected
    for left, right in zip(swapped, in_place, strict=True):
        assert all(same(one, other) for one, other in zip(left, right, strict=True))


@pytest.mark.parametrize("moment", ["ascent", "descent"])
def test_an_error_puts_the_weights_back(moment: str) -> None:
    """After an exception in either pass every weight is where it was, and what it was."""
    model = mlp()
    before, addresses = weights(model), [parameter.data_ptr() for parameter in model.parameters()]

    def fail(batch: Batch) -> Tensor:
        if (len(batch["x"]) == 8) == (moment == "descent"):
            raise RuntimeError("here")
        return loss_of(model)(batch)

    with pytest.raises(RuntimeError, match="here"):
        SAM(model, rho=0.5, swap=True)(fail, batch_of(8))
    assert same(weights(model), before)
    assert addresses == [parameter.data_ptr() for parameter in model.parameters()]


def test_memory_that_is_shared_is_written_over() -> None:
    """Weights that are parts of one buffer stay in it, so that what reads the buffer sees w_adv."""
    model = mlp()
    flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    start = 0
    for parameter in model.parameters():
        parameter.data = flat[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    assert not any(map(with_own_memory(model), model.parameters()))
    seen: list[Tensor] = []

    def loss_fn(batch: Batch) -> Tensor:
        seen.append(flat.clone())
        return loss_of(model)(batch)

    SAM(model, rho=0.5, swap=True)(loss_fn, batch_of(8))
    assert float((seen[1] - seen[0]).norm()) == pytest.approx(0.5)
    assert torch.equal(flat, seen[0])


@pytest.mark.parametrize("alias", ["buffer", "frozen"])
def test_a_second_name_of_a_weight_sees_w_adv(alias: str) -> None:
    """A weight whose whole memory is a buffer's or a frozen parameter's, too, is written over."""
    found = []
    for swap in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 4)).double()
        first = model[0]
        assert isinstance(first, nn.Linear)
        second = first.weight.detach()
        if alias == "buffer":
            model.register_buffer("second", second)
        else:
            model.register_parameter("second", nn.Parameter(second, requires_grad=False))
        can = with_own_memory(model)
        assert [can(parameter) for parameter in first.parameters()] == [False, True]

        def loss_fn(batch: Batch, model: nn.Module = model) -> Tensor:
            return nn.functional.cross_entropy(model(batch["x"] @ model.second), batch["y"])  # type: ignore[operator]

        found.append(SAM(model, rho=0.5, swap=swap)(loss_fn, batch_of(8)).loss)
    assert torch.equal(*found)


@pytest.mark.parametrize("swap", [False, True])
def test_a_wider_gradient_does_not_widen_the_weight(swap: bool) -> None:
    """Weights in bf16 with a gradient in fp32 stay in bf16 at w_adv."""
    model = nn.Linear(6, 4, dtype=torch.bfloat16)
    parameters: list[Tensor] = list(model.parameters())
    gradients: list[Tensor] = [torch.ones_like(parameter, dtype=torch.float32) for parameter in parameters]
    before = weights(model)
    moved = perturb(parameters, gradients, 0.5, swap=with_own_memory(model) if swap else None)
    assert next(moved).taken
    assert all(parameter.dtype == torch.bfloat16 for parameter in parameters)
    assert not same(weights(model), before)
    moved.close()
    assert same(weights(model), before)


def test_a_transposed_weight_keeps_its_layout() -> None:
    """A matrix that lies in memory by columns is swapped for one that does, too."""
    model, other = mlp(), mlp()
    for one in (model, other):
        first = one[0]
        assert isinstance(first, nn.Linear)
        first.weight.data = first.weight.data.T.contiguous().T
    strides: list[tuple[int, ...]] = []

    def loss_fn(batch: Batch) -> Tensor:
        strides.append(next(model.parameters()).stride())
        return loss_of(model)(batch)

    SAM(model, rho=0.5, swap=True)(loss_fn, batch_of(8))
    SAM(other, rho=0.5)(loss_of(other), batch_of(8))
    assert strides[0] == strides[1] == (1, 8)
    assert distance([p.grad for p in model.parameters()], [p.grad for p in other.parameters()]) == 0


def test_only_a_switch_is_taken() -> None:
    """What is neither true nor false is refused with a sentence."""
    with pytest.raises(ValueError, match="Invalid swap=1"):
        SAM(mlp(), swap=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="swap=True needs the module"):
        SAM(mlp().parameters(), swap=True)
