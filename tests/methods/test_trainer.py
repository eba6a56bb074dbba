"""The methods in Hugging Face's Trainer: its steps are those of a loop of five lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.integrations.runs import ROUNDING, trained, update
from tests.integrations.toys import batch_of, distance, moves, rows, tiny, weights

import lowland
from lowland import SAMConfig


@pytest.mark.parametrize("settings", [{"functional": True}, {"precondition": True}, {"rise": 0.1}], ids=str)
@pytest.mark.parametrize("kind", ["t5", "llama", "bert"])
def test_trajectory_of_a_plain_loop(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Logits, the optimizer's second moments and the rise of the loss are found in the Trainer, too."""
    config = SAMConfig(rho=0.3, ascent=0.5, **settings)
    trainer = trained(tmp_path, kind, sam=config, optim="adamw_torch", learning_rate=0.01)
    model, data = tiny(kind, 0.0).train(), rows(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    sam = lowland.SAM(model, config)
    sam.optimizer = optimizer
    for step in range(3):
        sam(lambda batch: model(**batch).loss, batch_of(data, 4, 4 * step))
        optimizer.step()
        optimizer.zero_grad()
    # AdamW divides by roots of squared gradients, which magnifies rounding where these are near 0.
    assert distance(update(trainer, kind), moves(weights(model), weights(tiny(kind)))) < 100 * ROUNDING
