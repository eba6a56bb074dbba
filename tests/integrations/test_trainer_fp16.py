"""SAM in Hugging Face's Trainer under a GradScaler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.integrations.runs import logged, model_of, trained
from tests.integrations.toys import (
    SAMTrainer,
    arguments,
    rows,
    same,
    tiny,
    weights,
)
from transformers import Trainer

from lowland import SAMConfig


def scaler_run(folder: Path, overflow_at: str | None) -> tuple[Trainer, Any]:
    """One fp16 step with a GradScaler, on the CPU, where Accelerate itself would want an accelerator."""

    class Overflowing(SAMTrainer):  # type: ignore[misc, valid-type]
        def compute_loss(self, model: Any, inputs: Any, **kwargs: Any) -> Any:
            where = "ascent" if len(inputs["labels"]) == 1 else "descent"
            loss = super().compute_loss(model, inputs, **kwargs)
            return loss * float("inf") if where == overflow_at else loss

    trainer = Overflowing(
        model=tiny("t5", 0.0),
        args=arguments(folder, max_steps=1, max_grad_norm=1.0, optim="adamw_torch"),
        train_dataset=rows("t5"),
        sam=SAMConfig(),
    )
    accelerator = trainer.accelerator
    accelerator.state._mixed_precision = "fp16"
    accelerator.native_amp = True
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000)
    try:
        trainer.train()
    finally:
        accelerator.state._mixed_precision = "no"
    return trainer, accelerator.scaler


def test_fp16(tmp_path: Path) -> None:
    """Under a GradScaler both passes run scaled, and clipping and logs see unscaled figures."""
    plain = trained(tmp_path, "t5", max_steps=1, max_grad_norm=1.0, optim="adamw_torch")
    trainer, scaler = scaler_run(tmp_path, None)
    assert scaler.get_scale() == 1024.0
    for name in ("loss", "grad_norm", "ascent_loss", "ascent_norm", "radius"):
        assert logged(trainer, name) == pytest.approx(logged(plain, name), rel=0.01), name  # fp16
    assert not same(weights(model_of(trainer)), weights(tiny("t5")))


@pytest.mark.parametrize("where", ["ascent", "descent"])
def test_fp16_overflow(where: str, tmp_path: Path) -> None:
    """An overflow in either pass skips the step and halves the scale, with the weights as they were."""
    trainer, scaler = scaler_run(tmp_path, where)
    assert scaler.get_scale() == 512.0
    assert same(weights(model_of(trainer)), weights(tiny("t5")))
