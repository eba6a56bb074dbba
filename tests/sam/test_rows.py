"""Tables of embeddings: gradients, and perturbations, of the rows that occur."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.sam.test_memory import Tensors
from tests.sam.toys import SAM, Batch, Words, words_batch
from torch import Tensor, nn

from lowland.parameters.rows import MANY, is_table
from lowland.sam.perturb import perturb, perturbed


def handed(model: nn.Module, by_rows: bool) -> Any:
    """What SAM is given: only with the module does it know of tables."""
    return model if by_rows else list(model.named_parameters())


def gradients_of(
    options: dict[str, Any], tied: bool, by_rows: bool
) -> tuple[list[Tensor], float, float | None]:
    """Takes a SAM gradient; checks that the weights are where they were."""
    model = Words(tied)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    info = SAM(handed(model, by_rows), rho=0.3, **options)(model.loss, words_batch(8))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    assert not model.words.sparse
    norm, moved = info.ascent_norm, info.moved
    assert norm is not None
    return [p.grad for p in model.parameters() if p.grad is not None], norm, moved


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adaptive": True},
        {"m": 2},
        {"micro_batch_size": 1, "ascent": 0.5},
        {"perturb": ["words*"]},
        {"scaler": torch.amp.GradScaler("cpu", init_scale=8.0)},
    ],
)
def test_the_same_gradient(options: dict[str, Any], tied: bool) -> None:
    """By rows or by whole tables, SAM's gradient, norm and share of moved weights are the same."""
    whole, whole_norm, whole_moved = gradients_of(options, tied, by_rows=False)
    some, norm, moved = gradients_of(options, tied, by_rows=True)
    # In double precision; the norm's sum is taken in another order.
    assert norm == pytest.approx(whole_norm, rel=1e-13)
    for one, other in zip(whole, some, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)
    assert moved == whole_moved


def test_the_table_is_not_copied() -> None:
    """While the weights are moved, nothing as large as the table is made; it is in the descent's gradient."""
    model, batch = Words(), words_batch(8)
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
            SAM(handed(model, by_rows), rho=0.3)(loss, batch)
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
        with perturbed([weight], [gradient.clone()], rho, adaptive=adaptive) as done:
            reached.append((weight.clone(), done))
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
        SAM(model, rho=0.3)(failing, words_batch(8))
    assert torch.equal(model.words.weight, before)
    assert not model.words.sparse
    model.loss(words_batch(2)).backward()
    assert model.words.weight.grad is not None and not model.words.weight.grad.is_sparse


def with_a_hook(model: Words) -> None:
    """Leaves the first words as they are, as one does to train new words alone."""

    def keep(gradient: Tensor) -> Tensor:
        changed = gradient.clone()
        changed[:10] = 0
        return changed

    model.words.weight.register_hook(keep)


def with_an_adapter(model: Words) -> None:
    """Puts a low-rank adapter beside the table."""
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["words"], r=2), model)


def computed(model: Words) -> None:
    """Computes the table from a direction and a length."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and still in use
        nn.utils.weight_norm(model.words)


def padded(model: Words) -> None:
    """Lets one word be padding, which has no gradient."""
    model.words.padding_idx = 3


def sparse_already(model: Words) -> None:
    """Lets the table have sparse gradients in every pass."""
    model.words.sparse = True


@pytest.mark.parametrize("change", [with_a_hook, with_an_adapter, computed, padded, sparse_already])
def test_special_tables(change: Callable[[Words], None]) -> None:
    """Where a table's weights are no plain ones, or its gradient is worked on, rows change nothing either."""
    found = []
    for by_rows in (False, True):
        model = Words()
        change(model)
        model.double()
        sparse = model.words.sparse if isinstance(model.words, nn.Embedding) else None
        SAM(handed(model, by_rows), rho=0.3)(model.loss, words_batch(8))
        assert (model.words.sparse if isinstance(model.words, nn.Embedding) else None) == sparse
        found.append([p.grad.to_dense() for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)  # in double precision


def test_many_rows_are_a_table() -> None:
    """A batch that names half of the rows or more moves the table as a whole."""
    model = Words()
    batch = words_batch(8)
    batch = {name: tensor.repeat(300, 1) for name, tensor in batch.items()}  # 2,400 sequences of six words
    kinds = []

    def seen(parameters: Any, gradients: list[Tensor], rho: float, **options: Any) -> Any:
        kinds.append(gradients[0].is_sparse)
        return perturb(parameters, gradients, rho, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowland.sam.gradient.perturb", seen)
        for size in (8, 2400):
            few = {name: tensor[:size] for name, tensor in batch.items()}
            SAM(model, rho=0.3, ascent=1.0)(model.loss, few)
    assert kinds == [True, False]


def test_what_is_a_table() -> None:
    """A small table, one that weighs rows by how often they occur, and a frozen one are left alone."""
    assert is_table(nn.Embedding(MANY, 2))
    assert not is_table(nn.Embedding(MANY - 1, 2))
    assert not is_table(nn.Embedding(MANY, 2, scale_grad_by_freq=True))
    assert not is_table(nn.Embedding(MANY, 2).requires_grad_(False))
    assert not is_table(nn.Linear(MANY, 2))
