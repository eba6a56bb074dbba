"""Small models, batches and helpers for the tests of SAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lowland import SAMConfig, SAMGradient
from lowland.parameters.rows import MANY

Batch = dict[str, Tensor]
LOOP = ("micro_batch_size", "count", "scaler", "backward")


def SAM(parameters: Any, *, measure: bool = True, **settings: Any) -> SAMGradient:  # noqa: N802
    """Builds SAM's gradient from settings and arguments in one list; `ascent` may be a number of examples."""
    loop = {name: settings.pop(name) for name in LOOP if name in settings}
    if type(settings.get("ascent")) is int:
        settings["ascent_examples"] = settings.pop("ascent")
    sam = SAMGradient(parameters, SAMConfig(**settings), **loop)
    sam.measure = measure
    return sam


def mlp(dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Sequential:
    """A classifier of 6 features into 4 classes without randomness or buffers."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).to(dtype)


def noisy(seed: int = 0) -> nn.Sequential:
    """A classifier with everything that a second forward pass would disturb: dropout and BatchNorm."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4), nn.Dropout(0.1)
    )


def batch_of(size: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Batch:
    """Random features and classes."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(size, 6, generator=generator, dtype=torch.float64).to(dtype),
        "y": torch.randint(0, 4, (size,), generator=generator),
    }


def loss_of(model: nn.Module) -> Callable[[Batch], Tensor]:
    """The mean cross-entropy of a classifier."""
    return lambda batch: nn.functional.cross_entropy(model(batch["x"]), batch["y"])


class Tagger(nn.Module):
    """Classifies each token of a sequence; labels of -100 do not count."""

    def __init__(self, seed: int = 0, sparse: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(20, 5, sparse=sparse)
        self.out = nn.Linear(5, 7)
        self.double()

    def loss(self, batch: Batch) -> Tensor:
        logits = self.out(torch.tanh(self.embedding(batch["input_ids"])))
        return nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())


def token_batch(lengths: list[int], seed: int = 2) -> Batch:
    """Sequences of at most 6 tokens, as many targets as told in each and -100 in the other places."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(0, 20, (len(lengths), 6), generator=generator)
    labels = torch.randint(0, 7, (len(lengths), 6), generator=generator)
    for row, length in enumerate(lengths):
        labels[row, length:] = -100
    return {"input_ids": input_ids, "labels": labels}


def weights(model: nn.Module) -> list[Tensor]:
    """Copies of all parameters."""
    return [parameter.detach().clone() for parameter in model.parameters()]


def gradients(model: nn.Module) -> list[Tensor | None]:
    """Copies of all gradients."""
    return [None if p.grad is None else p.grad.detach().clone() for p in model.parameters()]


def same(left: Any, right: Any) -> bool:
    """Whether two lists of tensors (or None) are equal bit for bit, NaN included."""
    if left is None or right is None:
        return left is right
    if isinstance(left, Tensor):
        integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}
        if left.is_floating_point() and left.dtype == right.dtype:
            kind = integers[left.element_size()]
            return torch.equal(left.contiguous().view(kind), right.contiguous().view(kind))
        return torch.equal(left, right)
    return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))


def distance(left: list[Any], right: list[Any]) -> float:
    """The largest difference between the elements of two lists of tensors."""
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))


class Words(nn.Module):
    """Scores the next word of each word of a large vocabulary; a small table stands beside the large one."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.places = nn.Embedding(2 * MANY, 5), nn.Embedding(6, 5)
        self.out = nn.Linear(5, 2 * MANY, bias=False)
        if tied:
            self.out.weight = self.words.weight
        self.double()

    def loss(self, batch: Batch) -> Tensor:
        """The mean cross-entropy of the next word."""
        states = self.words(batch["input_ids"]) + self.places(torch.arange(6))
        return nn.functional.cross_entropy(
            self.out(torch.tanh(states)).flatten(0, 1), batch["labels"].flatten()
        )


def words_batch(size: int) -> Batch:
    """Sequences of six words, of which many occur more than once."""
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(0, 30, (2, size, 6), generator=generator)
    return {"input_ids": words[0], "labels": words[1]}
