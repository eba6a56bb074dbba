"""A model, batches and comparisons for two processes that train together.

Every rank has half of the examples. The same step is taken in one process on the examples of both ranks,
in an order that puts the ascent examples of both ranks first, as `alone` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.sam.toys import Batch, token_batch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from lowland import GradientInfo
from lowland.batches.batch import rows

WORLD = 2
# Float64 sums of numbers of order 1 in another order, over a few steps.
ROUNDING = 1e-12
CASES: dict[str, Callable[[int], None]] = {}


def case(function: Callable[[int], None]) -> Callable[[int], None]:
    """Enters a function into the list of cases."""
    CASES[function.__name__] = function
    return function


class Net(nn.Module):
    """A tagger of tokens whose shapes do not divide by two, so that shards are uneven and some empty."""

    def __init__(self, unused: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(21, 5)
        self.hidden = nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.ones(1))
        self.out = nn.Linear(3, 7)
        self.unused = nn.Linear(2, 2) if unused else None
        self.double()

    def forward(self, batch: Batch) -> Tensor:
        hidden = torch.tanh(self.hidden(self.embedding(batch["input_ids"]))) * self.scale
        return nn.functional.cross_entropy(self.out(hidden).flatten(0, 1), batch["labels"].flatten())


def halves(seed: int = 0) -> list[Batch]:
    """The batches of both ranks, 6 examples each, with very unequal numbers of target tokens."""
    return [token_batch([1, 6, 2, 5, 3, 6], seed=seed), token_batch([1, 1, 2, 1, 4, 1], seed=seed + 100)]


def joined(parts: list[Batch]) -> Batch:
    """One batch of several."""
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def alone(parts: list[Batch], ascent: int, m: int = 1, whole: bool = False) -> Batch:
    """One batch of both ranks' examples: the ascent examples of both (of each of m shares) come first."""
    size = len(parts[0]["labels"])
    ordered = []
    if whole:  # all points descend on everything
        group = ascent // m
        for point in range(m):
            ordered += [rows(part, group * point, group * (point + 1)) for part in parts]
        return joined([*ordered, *[rows(part, ascent, size) for part in parts]])
    for point in range(m):
        shares = [rows(part, size * point // m, size * (point + 1) // m) for part in parts]
        ordered += [rows(share, 0, ascent // m) for share in shares]
        ordered += [rows(share, ascent // m, size) for share in shares]
    return joined(ordered)


def full(tensor: Tensor | None) -> Tensor | None:
    """The whole of a tensor that may be sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def close(left: Any, right: Any) -> bool:
    """Equality up to rounding; `None` equals `None`."""
    if left is None or right is None:
        return left is right
    return bool(torch.allclose(torch.as_tensor(left), torch.as_tensor(right), rtol=0, atol=ROUNDING))


def assert_same_gradients(model: nn.Module, other: nn.Module) -> None:
    """Together and alone, the gradients agree."""
    pairs = list(zip(model.named_parameters(), other.parameters(), strict=True))
    wrong = [name for (name, p), q in pairs if not close(full(p.grad), q.grad)]
    assert not wrong, f"gradients differ: {wrong}"


def assert_same_weights(model: nn.Module, other: nn.Module) -> None:
    """Together and alone, the weights agree."""
    pairs = list(zip(model.named_parameters(), other.parameters(), strict=True))
    wrong = [name for (name, p), q in pairs if not close(full(p.detach()), q.detach())]
    assert not wrong, f"weights differ: {wrong}"


def assert_same_info(info: GradientInfo, expected: GradientInfo) -> None:
    """Together and alone, the figures agree."""
    for name in ("loss", "ascent_loss", "ascent_norm", "radius", "moved"):
        assert close(getattr(info, name), getattr(expected, name)), (name, info, expected)


def shard(model: nn.Module) -> nn.Module:
    """Applies FSDP2 to two parts and the whole."""
    mesh = init_device_mesh("cpu", (WORLD,))
    for part in (model.embedding, model.out):
        fully_shard(part, mesh=mesh)  # type: ignore[arg-type]
    return fully_shard(model, mesh=mesh)


def ddp(**options: Any) -> Callable[[nn.Module], nn.Module]:
    """A way to wrap a model."""
    return lambda model: DistributedDataParallel(model, **options)
