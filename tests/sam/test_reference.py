"""The gradient equals Algorithm 1 written out of place, on an MLP and on a T5."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, Tagger, batch_of, distance, gradients, loss_of, mlp, token_batch
from torch import Tensor, nn
from torch.func import functional_call

from lowland.sam.reference import sam_gradient


def loss_at(model: nn.Module) -> Any:
    """The mean loss of a classifier as a function of its weights."""
    names = [name for name, _ in model.named_parameters()]

    def loss(weights: Sequence[Tensor], batch: Batch) -> Tensor:
        logits = functional_call(model, dict(zip(names, weights, strict=True)), (batch["x"],))
        return nn.functional.cross_entropy(logits, batch["y"])

    return loss


@pytest.mark.parametrize("a", [1, 3, 12])
@pytest.mark.parametrize("rho", [0.05, 0.15, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_mlp(a: int, rho: float, seed: int) -> None:
    """On random MLPs and batches the gradient is the reference's, for several a and rho."""
    model = mlp(seed=seed)
    batch = batch_of(12, seed=seed + 10)
    expected = sam_gradient(loss_at(model), list(model.parameters()), batch, rho=rho, a=a)
    SAM(model, rho=rho, ascent=a)(loss_of(model), batch)
    # 1e-14: the same float64 operations but for the order of the norm's sum.
    assert distance(gradients(model), expected) < 1e-14


def test_t5() -> None:
    """On a T5 in float64, tied embeddings and -100 labels included, the gradient is the reference's."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(vocab_size=40, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=2, dropout_rate=0.0)
    config.decoder_start_token_id = 0
    model = T5ForConditionalGeneration(config).double()
    names = [name for name, _ in model.named_parameters()]
    batch = {"input_ids": torch.randint(2, 40, (8, 7)), "labels": torch.randint(2, 40, (8, 5))}
    batch["labels"][::2, 3:] = -100

    def loss(weights: Sequence[Tensor], batch: Batch) -> Tensor:
        return functional_call(model, dict(zip(names, weights, strict=True)), kwargs=batch).loss

    expected = sam_gradient(loss, list(model.parameters()), batch, rho=0.15, a=2)
    info = SAM(model)(lambda batch: model(**batch).loss, batch)
    # 1e-12: float64 through two layers, relative to gradients of order 1.
    assert distance(gradients(model), expected) < 1e-12
    assert info.radius == pytest.approx(0.15, abs=1e-12)


def test_not_the_whole_batch() -> None:
    """Neither the whole batch's ascent, nor the last examples', nor the first one's descent is SAM."""
    model = mlp()
    batch, a, loss = batch_of(12), 3, loss_at(model)
    flipped = {key: value.flip(0) for key, value in batch.items()}
    SAM(model, rho=0.5, ascent=a)(loss_of(model), batch)
    parameters = list(model.parameters())
    few = {key: value[:a] for key, value in batch.items()}
    for other, size in [(batch, 12), (flipped, a), (few, a)]:
        wrong = sam_gradient(loss, parameters, other, rho=0.5, a=size)
        assert distance(gradients(model), wrong) > 1e-3


def test_descent_on_sparse_embedding() -> None:
    """A sparse embedding gradient counts in the norm and comes out sparse, equal to the dense one."""
    batch = token_batch([3, 6, 1, 5, 2, 2, 4, 6])
    model, dense = Tagger(sparse=True), Tagger()
    info = SAM(model, rho=0.5, micro_batch_size=3)(model.loss, batch)
    expected = SAM(dense, rho=0.5)(dense.loss, batch)
    assert model.embedding.weight.grad is not None and model.embedding.weight.grad.is_sparse
    model.embedding.weight.grad = model.embedding.weight.grad.to_dense()
    # 1e-14: float64 sums in another order.
    assert distance(gradients(model), gradients(dense)) < 1e-14
    assert info.ascent_norm == pytest.approx(expected.ascent_norm, rel=1e-14)


@pytest.mark.parametrize(
    ("size", "ascent", "m", "expected"),
    [
        (128, 0.25, 1, 32),  # the paper's
        (32, 0.25, 1, 8),
        (8, 0.25, 1, 2),
        (5, 0.25, 1, 1),
        (1, 0.25, 1, 1),  # at least one
        (6, 0.25, 1, 2),  # 1.5: halves go to the even number
        (10, 0.25, 1, 2),  # 2.5
        (7, 0.25, 1, 2),  # 1.75
        (8, 1.0, 1, 8),
        (8, 1, 1, 1),  # a whole number counts examples
        (8, 3, 1, 3),
        (8, 20, 1, 8),  # at most the batch
        (128, 0.25, 4, 32),
        (8, 0.25, 2, 2),
        (8, 0.25, 4, 4),  # at least one a point
        (9, 1.0, 2, 8),  # a multiple of m
        (8, 6, 3, 6),
        (5, 6, 3, 3),
    ],
)
def test_ascent_size(size: int, ascent: float, m: int, expected: int) -> None:
    """The number of ascent examples is the multiple of m nearest to its share, from m up to the batch."""
    assert SAM(mlp(), ascent=ascent, m=m).ascent_size(size) == expected


def test_batch_smaller_than_m() -> None:
    """A batch with fewer examples than points is refused in a sentence."""
    with pytest.raises(ValueError, match="batch of 3 examples cannot be cut for m=4 points"):
        SAM(mlp(), m=4).ascent_size(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": -0.1}, "Invalid rho=-0.1"),
        ({"rho": math.nan}, "Invalid rho=nan"),
        ({"rho": math.inf}, "Invalid rho=inf"),
        ({"rho": True}, "Invalid rho=True"),
        ({"ascent": 0.0}, "Invalid ascent=0.0"),
        ({"ascent": 1.5}, "Invalid ascent=1.5"),
        ({"ascent": 0}, "Invalid ascent_examples=0"),
        ({"ascent": True}, "Invalid ascent=True"),
        ({"m": 0}, "Invalid m=0"),
        ({"m": 1.5}, "Invalid m=1.5"),
        ({"ascent": 5, "m": 2}, "Invalid ascent_examples=5 with m=2"),
        ({"descent": "both"}, "Invalid descent='both'"),
        ({"ranks": "each"}, "Invalid ranks='each'"),
        ({"ranks": "own"}, "ranks='own' needs the model wrapped in DistributedDataParallel"),
        ({"micro_batch_size": 0}, "Invalid micro_batch_size=0"),
        ({"scaler": torch.amp.GradScaler("cpu"), "backward": print}, "either scaler= or backward="),
    ],
    ids=lambda value: value if isinstance(value, str) else "settings",
)
def test_invalid_settings(options: dict[str, Any], message: str) -> None:
    """Settings out of range are refused at once, with the setting's name and value."""
    with pytest.raises(ValueError, match=message):
        SAM(mlp(), **options)
