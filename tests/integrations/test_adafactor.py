"""AdaFactor with T5's settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.integrations.toys import SAMTrainer, arguments, rows, tiny, weights
from transformers import Trainer

from lowland import SAMConfig
from lowland.integrations import t5_adafactor


def test_steps_are_relative_to_the_weights(tmp_path: Path) -> None:
    """A step of `t5_adafactor` grows with the weights, and one of the Trainer's own `adafactor` does not."""
    sizes: dict[str, list[float]] = {"t5": [], "trainer": []}
    for optimizer in sizes:
        for scale in (1.0, 100.0):
            model = tiny("t5", 0.0)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.fill_(0.01 * scale)
            before = weights(model)
            trainer = SAMTrainer(
                model,
                arguments(tmp_path, optim="adafactor", learning_rate=1e-3, max_steps=1),
                train_dataset=rows("t5"),
                optimizers=(t5_adafactor(model) if optimizer == "t5" else None, None),
                sam=SAMConfig(),
            )
            trainer.train()
            steps = [float((a - b).norm()) for a, b in zip(weights(model), before, strict=True)]
            sizes[optimizer].append(max(steps))
    assert sizes["t5"][1] == pytest.approx(100 * sizes["t5"][0], rel=0.1)
    assert sizes["trainer"][1] < 2 * sizes["trainer"][0]


def test_the_trap_is_still_there(tmp_path: Path) -> None:
    """`optim="adafactor"` still sets scale_parameter=False in the Trainer, and `t5_adafactor` does not."""
    _, settings = Trainer.get_optimizer_cls_and_kwargs(arguments(tmp_path, optim="adafactor"))
    assert settings["scale_parameter"] is False
    group = t5_adafactor(tiny("t5")).param_groups[0]
    assert group["scale_parameter"] is True and group["relative_step"] is False and group["lr"] == 1e-3


def test_frozen_parameters_and_mistakes() -> None:
    """Frozen parameters are left out, and a negative learning rate is refused."""
    model = tiny("t5")
    model.get_encoder().requires_grad_(False)
    chosen = t5_adafactor(model).param_groups[0]["params"]
    assert 0 < len(chosen) < len(list(model.parameters()))
    with pytest.raises(ValueError, match=r"Invalid learning_rate=-1"):
        t5_adafactor(model, -1)
