"""SAM with models that are compiled, or that compute parts of their forward pass twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch._dynamo
from tests.sam.toys import SAM, batch_of, distance, gradients, loss_of, mlp, noisy, same, weights
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint


def test_compiled_model() -> None:
    """A compiled model gives the plain one's gradient and buffers, and compiles once a pass shape."""
    torch._dynamo.reset()
    model, other = noisy(), noisy()
    for one in (model, other):  # compiled dropout draws other masks
        one[3], one[5] = nn.Identity(), nn.Identity()
    counter = CompileCounterWithBackend("aot_eager")
    compiled: Any = torch.compile(model, backend=counter, dynamic=False)
    sam, expected = SAM(compiled, rho=0.3), SAM(other, rho=0.3)
    for step in range(4):
        sam(loss_of(compiled), batch_of(8, torch.float32, seed=step))
        expected(loss_of(other), batch_of(8, torch.float32, seed=step))
    assert distance(gradients(model), gradients(other)) < 1e-5  # fp32, operations in another order
    assert distance(list(model.buffers()), list(other.buffers())) < 1e-5
    assert counter.frame_count == 2  # the ascent's shape and the descent's


class Checkpointed(nn.Module):
    """A classifier that computes its hidden layer, with dropout, again in the backward pass."""

    def __init__(self, use_reentrant: bool | None) -> None:
        super().__init__()
        self.inner, self.dropout = mlp(), nn.Dropout(0.5)
        self.use_reentrant = use_reentrant

    def hidden(self, x: Tensor) -> Tensor:
        return self.dropout(self.inner[:2](x))

    def forward(self, x: Tensor) -> Tensor:
        if self.use_reentrant is None:
            return self.inner[2](self.hidden(x))
        return self.inner[2](checkpoint(self.hidden, x.requires_grad_(), use_reentrant=self.use_reentrant))


@pytest.mark.parametrize("options", [{}, {"micro_batch_size": 3}], ids=str)
def test_checkpointing(options: dict[str, int]) -> None:
    """With activation checkpointing the gradient is the one without, dropout masks included."""
    model, other = Checkpointed(use_reentrant=False), Checkpointed(use_reentrant=None)
    for one in (model, other):
        torch.manual_seed(3)
        SAM(one, **options)(loss_of(one), batch_of(8))  # type: ignore[arg-type]
    assert same(gradients(model), gradients(other))


def test_reentrant_checkpointing() -> None:
    """Checkpointing of the old, reentrant kind is refused with what to do, and nothing is changed."""
    model = Checkpointed(use_reentrant=True)
    before = weights(model)
    with pytest.raises(ValueError, match=r"reentrant activation checkpointing.*use_reentrant=False"):
        SAM(model)(loss_of(model), batch_of(8))
    assert same(weights(model), before)
    assert gradients(model) == [None] * len(before)


def test_parameters_that_sam_was_not_given() -> None:
    """The ascent leaves the gradients of parameters that SAM was not given; the descent adds to them once."""
    model, other = mlp(), mlp()
    SAM(model[2])(loss_of(model), batch_of(8))
    SAM(other, perturb="2.*")(loss_of(other), batch_of(8))
    SAM(list(model[2].parameters()))(loss_of(model), batch_of(8))
    SAM(other, perturb="2.*")(loss_of(other), batch_of(8))
    assert same(gradients(model), gradients(other))
