"""One extra copy of the perturbed weights, and nothing that outlives the step."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
import torch._dynamo  # else the first operation in a dispatch mode imports it and keeps its frame
from tests.sam.toys import SAM, Batch, batch_of, loss_of, mlp
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lowland.parameters.preserve import Undo, buffers


class Tensors(TorchDispatchMode):
    """Keeps a weak reference to everything that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[weakref.ref[Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor) and not tensor.is_sparse:  # its parts are tensors themselves
                self.references.append(weakref.ref(tensor))
        return result

    def storages(self) -> dict[int, int]:
        """The bytes of every storage that is alive, by address."""
        alive = [tensor for reference in self.references if (tensor := reference()) is not None]
        return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}


def test_nothing_outlives_the_step() -> None:
    """After a step, without gc, of all its tensors only gradients and the info's losses are alive."""
    model = mlp()
    sam = SAM(model, micro_batch_size=3)
    batch = batch_of(8)
    gc.collect()
    gc.disable()
    try:
        with Tensors() as made:
            info = sam(loss_of(model), batch)
        kept = {
            t.untyped_storage().data_ptr() for p in model.parameters() for t in (p, p.grad) if t is not None
        }
        kept |= {t.untyped_storage().data_ptr() for t in batch.values()}
        kept |= {t.untyped_storage().data_ptr() for t in (info.loss, info.ascent_loss) if t is not None}
        assert set(made.storages()) <= kept
    finally:
        gc.enable()


def test_attributes_hold_no_tensor() -> None:
    """SAM itself refers to no tensor but the parameters: a checkpoint has nothing to take from it."""
    model = mlp()
    sam = SAM(list(model.parameters()))
    before = vars(sam).copy()
    sam(loss_of(model), batch_of(8))
    assert vars(sam) == before
    parameters = {id(parameter) for parameter in model.parameters()}
    waiting, seen = list(vars(sam).values()), set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        assert not isinstance(item, Tensor) or id(item) in parameters
        if isinstance(item, (list, tuple, set)):
            waiting += list(item)
        elif isinstance(item, dict):
            waiting += list(item.values())
        elif type(item).__module__.startswith("lowland"):
            waiting += list(vars(item).values())


@pytest.mark.parametrize("m", [1, 2])
def test_one_copy_in_the_descent(m: int) -> None:
    """When a descent starts, SAM holds one copy of the weights, and no ascent gradient or activation."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 4)).double()
    batch = batch_of(64)
    own = {tensor.data_ptr() for tensor in [*model.parameters(), *batch.values()]}
    held: list[int] = []
    gc.collect()
    gc.disable()
    try:
        with Tensors() as made:

            def loss_fn(batch: Batch) -> Tensor:
                held.append(sum(size for address, size in made.storages().items() if address not in own))
                return loss_of(model)(batch)

            SAM(model, m=m, descent="full")(loss_fn, batch)
    finally:
        gc.enable()
    copy = sum(p.numel() * p.element_size() for p in model.parameters())
    # 100 bytes: the ascent's loss, and the state of the random stream is not a result of an operation.
    assert copy <= held[1] <= copy + 100
    if m == 2:  # the gradient of the first point is there, too, and its two losses
        assert copy <= held[2] <= copy + 200
        assert 2 * copy <= held[3] <= 2 * copy + 200


def test_buffers_are_not_kept() -> None:
    """The copies of the buffers are gone when the ascent is."""
    model = nn.BatchNorm1d(3)
    gc.collect()
    with Tensors() as made:
        undo = Undo()
        buffers(model, undo)
        model(torch.randn(4, 3))
        undo()
        own = {tensor.data_ptr() for tensor in [*model.buffers(), *model.parameters()]}
        assert set(made.storages()) <= own
