"""Tables of embeddings: gradients, and perturbations, of the rows that occur."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.sam.test_memory import Tensors
from tests.sam.toys import Batch
from torch import Tensor, nn

from lowland import SAM
from lowland.sam import PastSAMGradient
from lowland.sam.perturb import perturb
from lowland.sam.rows import MANY

WIDTH = 5


class Words(nn.Module):
    """Scores the next word of each word of a large vocabulary; a small table stands beside the large one."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.places = nn.Embedding(2 * MANY, WIDTH), nn.Embedding(6, WIDTH)
        self.out = nn.Linear(WIDTH, 2 * MANY, bias=False)
        if tied:
            self.out.weight = self.words.weight
        self.double()

    def loss(self, batch: Batch) -> Tensor:
        """The mean cross-entropy of the next word."""
        states = self.words(batch["input_ids"]) + self.places(torch.arange(6))
        return nn.functional.cross_entropy(
            self.out(torch.tanh(states)).flatten(0, 1), batch["labels"].flatten()
        )


def batch_of(size: int) -> Batch:
    """Sequences of six words, of which many occur more than once."""
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(0, 30, (2, size, 6), generator=generator)
    return {"input_ids": words[0], "labels": words[1]}


def gradients_of(options: dict[str, Any], tied: bool = False) -> tuple[list[Tensor], float, float | None]:
    """Takes a SAM gradient; checks that the weights are where they were."""
    model = Words(tied)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    info = SAM(model, rho=0.3, **options)(model.loss, batch_of(8))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    assert not model.words.sparse
    norm, moved = info.ascent_norm, info.moved
    assert norm is not None
    return [p.grad for p in model.parameters() if p.grad is not None], norm, moved


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"adaptive": True}, {"m": 2}, {"micro_batch_size": 1, "ascent": 0.5}, {"perturb": ["words*"]}],
)
def test_the_same_gradient(options: dict[str, Any], tied: bool) -> None:
    """By rows or by whole tables, SAM's gradient, norm and share of moved weights are the same."""
    whole, whole_norm, whole_moved = gradients_of(options, tied)
    some, norm, moved = gradients_of({**options, "row_gradients": True}, tied)
    # In double precision; the norm's sum is taken in another order.
    assert norm == pytest.approx(whole_norm, rel=1e-13)
    for one, other in zip(whole, some, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)
    assert moved == whole_moved


def test_the_table_is_not_copied() -> None:
    """While the weights are moved, nothing as large as the table is made; it is in the descent's gradient."""
    model, batch = Words(), batch_of(8)
    table = model.words.weight.nbytes
    sizes: dict[str, int] = {}

    def loss(piece: Batch) -> Tensor:
        if len(piece["labels"]) == 8:  # the descent begins: all that the ascent has left is alive
            own = {parameter.data_ptr() for parameter in model.parameters()}
            sizes["kept"] = sum(size for place, size in made.storages().items() if place not in own)
        return model.loss(piece)

    for by_rows in (False, True):
        model.zero_grad()
        with Tensors() as made:
            SAM(model, rho=0.3, row_gradients=by_rows)(loss, batch)
        rest = sum(parameter.nbytes for parameter in model.parameters()) - table
        assert sizes["kept"] >= rest
        assert (sizes["kept"] >= rest + table) == (not by_rows)


@given(
    rows=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    rho=st.floats(1e-3, 1e3),
    adaptive=st.booleans(),
)
def test_rows_move_as_the_whole_table(rows: list[int], rho: float, adaptive: bool) -> None:
    """A sparse gradient moves the weights to where its dense form does, and back, whatever rows it names."""
    generator = torch.Generator().manual_seed(len(rows))
    table = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    values = torch.randn(len(rows), 3, generator=generator, dtype=torch.float64)
    sparse = torch.sparse_coo_tensor(torch.tensor([rows]), values, table.shape, check_invariants=True)
    reached = []
    for gradient in (sparse, sparse.to_dense()):
        weight = table.clone()
        move = perturb([weight], [gradient.clone()], rho, adaptive=adaptive)
        done = next(move)
        reached.append((weight.clone(), done))
        move.close()
        assert torch.equal(weight, table)
    # Sums over rows that are named twice, and the norm's, may be taken in another order.
    torch.testing.assert_close(reached[0][0], reached[1][0], rtol=1e-12, atol=1e-12 * rho)
    assert reached[0][1].radius == pytest.approx(reached[1][1].radius, rel=1e-9)
    assert reached[0][1].moved == reached[1][1].moved


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_leaves_no_trace(number: int) -> None:
    """Whichever pass fails, the table is where it was, and gives dense gradients again."""
    model = Words()
    before = model.words.weight.detach().clone()
    calls = 0

    def failing(piece: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == number:
            raise RuntimeError("out of luck")
        return model.loss(piece)

    with pytest.raises(RuntimeError, match="out of luck"):
        SAM(model, rho=0.3, row_gradients=True)(failing, batch_of(8))
    assert torch.equal(model.words.weight, before)
    assert not model.words.sparse
    model.loss(batch_of(2)).backward()
    assert model.words.weight.grad is not None and not model.words.weight.grad.is_sparse


@pytest.mark.parametrize(
    "make",
    [
        lambda model: SAM(model.parameters(), row_gradients=True),
        lambda model: PastSAMGradient(model, row_gradients=True),
    ],
)
def test_where_it_cannot_be(make: Callable[[nn.Module], SAM]) -> None:
    """Without the module, or without an ascent, rows are refused."""
    with pytest.raises(ValueError, match="row_gradients"):
        make(Words())
