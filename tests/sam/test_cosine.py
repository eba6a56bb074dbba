"""The cosine between the perturbation and the descent gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.sam.toys import (
    SAM,
    Batch,
    Tagger,
    Words,
    batch_of,
    gradients,
    loss_of,
    mlp,
    same,
    token_batch,
    words_batch,
)
from torch import nn


def expected_cosine(model: nn.Module, loss: Any, batch: Batch, rho: float, a: int) -> float:
    """The cosine between g_M at w and g_B at w_adv, out of place."""
    w = list(model.parameters())
    few = {name: column[:a] for name, column in batch.items()}
    g = [
        torch.zeros_like(p) if g is None else g
        for p, g in zip(w, torch.autograd.grad(loss(few), w), strict=True)
    ]
    flat = torch.cat([g_i.flatten() for g_i in g])
    with torch.no_grad():
        for w_i, g_i in zip(w, g, strict=True):
            w_i += rho * g_i / flat.norm()
    descent = torch.cat([g_i.flatten() for g_i in torch.autograd.grad(loss(batch), w)])
    return float(torch.nn.functional.cosine_similarity(flat, descent, dim=0))


@pytest.mark.parametrize(
    "options",
    [{}, {"micro_batch_size": 3}, {"scaler": torch.amp.GradScaler("cpu")}],
    ids=["plain", "micro-batches", "scaler"],
)
def test_equals_the_definition(options: dict[str, Any]) -> None:
    """The cosine is that of the ascent gradient at w with the batch's gradient at w_adv."""
    model, other = mlp(), mlp()
    info = SAM(model, rho=0.5, ascent=2, **options)(loss_of(model), batch_of(8))
    expected = expected_cosine(other, loss_of(other), batch_of(8), 0.5, 2)
    assert info.cosine == pytest.approx(expected, abs=1e-12)  # float64 sums


@pytest.mark.parametrize("tied", [False, True])
def test_tables(tied: bool) -> None:
    """Where only rows of a table move, its other rows still count in the descent gradient's length."""
    model, other = Words(tied), Words(tied)
    info = SAM(model, rho=0.5, ascent=2)(model.loss, words_batch(8))
    assert info.cosine == pytest.approx(expected_cosine(other, other.loss, words_batch(8), 0.5, 2), abs=1e-12)


def test_sparse_gradients() -> None:
    """Sparse gradients of a user's own give the cosine of dense ones."""
    found = []
    for sparse in (False, True):
        model = Tagger(sparse=sparse)
        found.append(SAM(model, rho=0.5, ascent=1)(model.loss, token_batch([3, 4])).cosine)
    assert found[0] == pytest.approx(found[1], abs=1e-12)  # sums in another order


@pytest.mark.parametrize(("others", "expected"), [(0.0, 1.0), (1.0, -1.0)])
def test_one_weight(others: float, expected: float) -> None:
    """With one weight the cosine is 1 where the batch agrees with the ascent, and -1 where it does not."""
    w = nn.Parameter(torch.tensor([0.1], dtype=torch.float64))
    targets = torch.tensor([0.0, others, others, others], dtype=torch.float64)
    assert SAM([w], rho=0.3)(lambda batch: ((w - batch.mean()) ** 2).sum(), targets).cosine == expected


def test_only_where_it_can_be_told() -> None:
    """There is no cosine where it is not measured, nothing moved, or `.grad` held something before."""
    model = mlp()
    loss_fn, batch = loss_of(model), batch_of(8)
    assert SAM(model, measure=False)(loss_fn, batch).cosine is None
    assert SAM(model)(loss_fn, batch).cosine is None  # .grad is the last step's
    model.zero_grad()
    assert SAM(model, rho=0.0)(loss_fn, batch).cosine is None
    model.zero_grad()
    assert SAM(model)(lambda batch: loss_fn(batch) * math.nan, batch).cosine is None


@pytest.mark.parametrize("options", [{}, {"m": 2}, {"adaptive": True}, {"direction": "momentum"}], ids=str)
def test_measuring_changes_nothing(options: dict[str, Any]) -> None:
    """The gradient is bit for bit the same whether or not the cosine is measured, and it lies in [-1, 1]."""
    model, other = mlp(), mlp()
    sam, unmeasured = SAM(model, **options), SAM(other, measure=False, **options)
    for seed in range(3):
        info = sam(loss_of(model), batch_of(8, seed=seed))
        unmeasured(loss_of(other), batch_of(8, seed=seed))
        assert same(gradients(model), gradients(other))
        assert (info.cosine is None) == (options.get("direction") == "momentum" and seed == 0)
        assert info.cosine is None or -1 <= info.cosine <= 1
        model.zero_grad()
        other.zero_grad()
