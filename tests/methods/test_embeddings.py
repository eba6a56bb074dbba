"""Rivals that perturb embeddings: each is its paper's loss, on models of all three families."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families.test_losses import CPU, EXAMPLES, batch_of
from tests.methods.test_families import HEADS, made
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lowland.methods.embeddings import EmbeddingNoise, divergence


class Reader(nn.Module):
    """A classifier of sequences of tokens that knows its table."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.out = nn.Embedding(9, 4), nn.Linear(4, 3)
        self.double()

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def head(self, states: Tensor) -> Tensor:
        scores: Tensor = self.out(torch.tanh(states).mean(1))
        return scores

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids))


def batch() -> dict[str, Tensor]:
    """Eight sequences of five tokens."""
    generator = torch.Generator().manual_seed(1)
    return {
        "ids": torch.randint(0, 9, (8, 5), generator=generator),
        "y": torch.randint(0, 3, (8,), generator=generator),
    }


def noisy(model: Reader, kind: Any, **options: Any) -> EmbeddingNoise:
    """The loss of a rival."""
    return EmbeddingNoise(
        lambda batch: cross_entropy(model(batch["ids"]), batch["y"]), model, kind, **options
    )


def kl(p: Tensor, q: Tensor) -> Tensor:
    """The divergence in words: the mean over examples of sum p (log p - log q)."""
    return (p * (p.log() - q.log())).sum(-1).mean()


def test_divergence() -> None:
    """Of two rows of logits it is KL both ways, averaged over the rows; of numbers it is the square."""
    torch.manual_seed(0)
    left, right = torch.randn(5, 3), torch.randn(5, 3)
    p, q = left.softmax(-1), right.softmax(-1)
    assert float(divergence(left, right)) == pytest.approx(float(kl(p, q) + kl(q, p)), rel=1e-5)
    assert float(divergence(left[:, :1], right[:, :1])) == pytest.approx(
        float((left[:, :1] - right[:, :1]).square().mean())
    )


def test_r3f() -> None:
    """R3F is the loss plus the weighted divergence under uniform noise on every embedding."""
    model, rows = Reader(), batch()
    torch.manual_seed(3)
    found = noisy(model, "r3f", weight=2.0, size=0.5)(rows)
    torch.manual_seed(3)
    states = model.table(rows["ids"])
    noise = torch.empty_like(states).uniform_(-0.5, 0.5)
    p, q = model.head(states).softmax(-1), model.head(states + noise).softmax(-1)
    expected = cross_entropy(model.head(states), rows["y"]) + 2 * (kl(p, q) + kl(q, p))
    # 1e-6: the divergence is computed in fp32.
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    found.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_smart_is_worse_than_noise() -> None:
    """SMART's step of ascent finds a larger divergence than the noise of R3F does, of the same size."""
    model, rows = Reader(), batch()
    plain = cross_entropy(model(rows["ids"]), rows["y"]).detach()
    for seed in range(5):
        added = {}
        for kind in ("smart", "r3f"):
            torch.manual_seed(seed)
            added[kind] = float(noisy(model, kind, size=0.1)(rows).detach() - plain)
        assert added["smart"] > 1.5 * added["r3f"] > 0


def test_freelb() -> None:
    """FreeLB is the mean of two losses, the second a step of ascent further, each example by its length."""
    model, rows = Reader(), batch()
    torch.manual_seed(3)
    found = noisy(model, "freelb", size=0.3)(rows)
    torch.manual_seed(3)
    states = model.table(rows["ids"])
    first = (torch.empty_like(states).uniform_(-1, 1) * (0.3 / 20**0.5)).detach().requires_grad_()
    one = cross_entropy(model.head(states + first), rows["y"])
    (slope,) = torch.autograd.grad(one, first, retain_graph=True)
    second = first + 0.3 * slope / slope.flatten(1).norm(dim=1)[:, None, None]
    two = cross_entropy(model.head(states + second.detach()), rows["y"])
    assert two > one
    assert float(found.detach()) == pytest.approx(float((one + two).detach() / 2), rel=1e-12)


@pytest.mark.parametrize("kind", ["r3f", "smart", "freelb"])
@pytest.mark.parametrize("family", HEADS)
def test_families(family: str, kind: Any, tmp_path: Path) -> None:
    """On models of all families the loss is the plain one but for the noise, and plain in evaluation."""
    made_family = made(tmp_path, family)
    loss_fn = made_family.loss(CPU)
    rows = batch_of(made_family, EXAMPLES)
    loss_fn.module.eval()
    plain = float(loss_fn(rows).detach())
    rival = EmbeddingNoise(loss_fn, loss_fn.module, kind, size=0.05)
    assert float(rival(rows).detach()) == plain
    for part in made_family.loaded.model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    loss_fn.module.train()
    torch.manual_seed(0)
    found = rival(rows)
    assert float(found.detach()) != plain and float(found.detach()) == pytest.approx(plain, rel=0.2)
    found.backward()
    assert not loss_fn.module._forward_hooks
