"""SAM in loops written with Accelerate: `scaler=accelerator.scaler` is all the adapter it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from tests.integrations.toys import SAMTrainer, arguments, batch_of, distance, moves, rows, tiny, weights
from torch import Tensor
from torch.utils.data import DataLoader

import lowland

RHO, RATE, STEPS = 0.3, 0.1, 2
# fp32 sums of a few hundred terms in another order, relative to the norm of what is compared.
ROUNDING = 1e-5


@pytest.fixture(autouse=True)
def _fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps one state a process; a test's own shall not meet the next one's."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    PartialState._reset_state()


def plain() -> list[Tensor]:
    """What two steps of a plain loop do, on whole batches of 8."""
    model, data = tiny("t5", 0.0).train(), rows("t5")
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    sam = lowland.SAM(model, rho=RHO)
    for step in range(STEPS):
        sam(lambda batch: model(**batch).loss, batch_of(data, 8, 8 * step))
        optimizer.step()
        optimizer.zero_grad()
    return moves(weights(model), weights(tiny("t5")))


def accelerated(micro_batch: int, *, mixed_precision: str = "no", by_hand: bool = True) -> list[Tensor]:
    """What two steps of an Accelerate loop do, on batches of 8 that come in micro-batches."""
    count = 8 // micro_batch
    accelerator = Accelerator(
        cpu=True, mixed_precision=mixed_precision, gradient_accumulation_steps=1 if by_hand else count
    )
    original = tiny("t5", 0.0).train()
    model, optimizer, loader = accelerator.prepare(
        original,
        torch.optim.SGD(original.parameters(), lr=RATE),
        DataLoader(rows("t5"), batch_size=micro_batch),
    )
    sam = lowland.SAM(model, rho=RHO, scaler=accelerator.scaler)
    held = []
    for batch in loader:
        held.append(batch)
        if by_hand:
            if len(held) == count:
                sam(lambda piece: model(**piece).loss, micro_batches=held)
                optimizer.step()
                optimizer.zero_grad()
                held = []
            continue
        with accelerator.accumulate(model):
            if accelerator.sync_gradients:
                sam(lambda piece: model(**piece).loss, micro_batches=held)
                held = []
            optimizer.step()  # Accelerate leaves these out until the last micro-batch
            optimizer.zero_grad()
    return moves(weights(accelerator.unwrap_model(model)), weights(tiny("t5")))


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "accumulate()"])
@pytest.mark.parametrize("micro_batch", [8, 2, 1])
def test_trajectory(micro_batch: int, by_hand: bool) -> None:
    """Accelerate's loop, with micro-batches kept by hand or by `accumulate()`, is the plain loop."""
    assert distance(accelerated(micro_batch, by_hand=by_hand), plain()) < ROUNDING


def test_the_trainer_agrees(tmp_path: Path) -> None:
    """The Trainer with accumulation, Accelerate with accumulation and the plain loop end at one place."""
    args = arguments(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4, max_steps=STEPS)
    model = tiny("t5", 0.0)
    SAMTrainer(model, args, train_dataset=rows("t5"), sam=lowland.SAMConfig(rho=RHO)).train()
    trained = moves(weights(model), weights(tiny("t5")))
    assert distance(trained, plain()) < ROUNDING
    assert distance(trained, accelerated(2)) < ROUNDING


def test_bf16() -> None:
    """Under Accelerate's bf16 autocast the loop stays near that of fp32."""
    moved, exact = accelerated(8, mixed_precision="bf16"), plain()
    # bf16 has three digits, of which two steps through a few layers leave about one.
    assert 0 < distance(moved, exact) < 0.1


def test_accelerators_backward_would_divide() -> None:
    """`backward=accelerator.backward` divides by the accumulation steps, which SAM has weighed already."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
    model = tiny("t5", 0.0)

    def norm(**options: Any) -> float:
        model.zero_grad()
        sam = lowland.SAM(model, rho=0.0, **options)
        sam(lambda batch: model(**batch).loss, batch_of(rows("t5"), 8))
        return float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]))

    right = norm(scaler=accelerator.scaler)
    assert norm(backward=accelerator.backward) == pytest.approx(right / 4, rel=1e-6)  # fp32
