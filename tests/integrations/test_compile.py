"""Compiled models under SAM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.integrations.toys import Row, SAMTrainer, arguments, batch_of, distance, moves, rows, tiny, weights
from tests.sam.toys import SAM
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from lowland import SAMConfig

pytestmark = pytest.mark.slow

# Compiled graphs add up in another order; fp32, relative to the norm of what is compared.
ROUNDING = 1e-5


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()


def three_steps(model: Any, **settings: Any) -> list[Tensor]:
    """How three SAM steps move the weights of a T5."""
    before, data = weights(model), rows("t5")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sam = SAM(model, rho=0.3, ascent=2, **settings)

    def loss_fn(batch: Row) -> Tensor:
        loss: Tensor = model(**batch).loss
        return loss

    for step in range(3):
        sam(loss_fn, batch_of(data, 5, 5 * step))
        optimizer.step()
        optimizer.zero_grad()
    return moves(weights(model), before)


@pytest.mark.parametrize("dynamic", [False, None], ids=["static shapes", "automatic shapes"])
def test_one_compilation_a_pass_shape(dynamic: bool | None) -> None:
    """A compiled model takes the same steps, and is compiled once for the ascent and once for the descent."""
    counter = CompileCounterWithBackend("aot_eager")
    model = tiny("t5", 0.0).train()
    compiled = torch.compile(model, backend=counter, dynamic=dynamic, fullgraph=True)
    assert distance(three_steps(compiled), three_steps(tiny("t5", 0.0).train())) < ROUNDING
    assert counter.frame_count == 2


# The default compiler imports parts of torch that torch has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_trainer(tmp_path: Path) -> None:
    """`torch_compile=True` in the Trainer's arguments trains as without."""
    moved = []
    counters.clear()
    for changes in ({}, {"torch_compile": True, "torch_compile_backend": "aot_eager"}):
        model = tiny("t5", 0.0)
        trainer = SAMTrainer(model, arguments(tmp_path, **changes), train_dataset=rows("t5"), sam=SAMConfig())
        trainer.train()
        moved.append(moves(weights(trainer.accelerator.unwrap_model(model)), weights(tiny("t5"))))
    assert distance(moved[1], moved[0]) < ROUNDING
    assert counters["stats"]["unique_graphs"] == 2  # a pass shape each
