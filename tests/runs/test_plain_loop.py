"""The command line trains as a loop of one's own does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers.optimization import Adafactor

import lowland
from lowland.cli import main
from lowland.config.experiment import build_config
from lowland.data import trim_padding
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.models.load import load_model
from lowland.models.save import weights_sha256
from lowland.runs.encodings import Encodings
from lowland.runs.examples import load_data, part
from lowland.train.seeds import seed_dropout


@pytest.mark.parametrize("arm", ["baseline", "sam"])
def test_a_loop_of_ones_own_ends_at_the_same_weights(tmp_path: Path, arm: str) -> None:
    """Three steps give a hand-written loop's weights, dropout on, bit for bit."""
    command = [
        *(
            "train",
            "facts/continents",
            "--arm",
            arm,
            "--steps",
            "3",
            "--evaluate-every",
            "3",
            "--eval-limit",
            "1",
        ),
        *(
            "--held-out",
            "0",
            "--precision",
            "fp32",
            "--batch-size",
            "8",
            "--z-loss",
            "0",
            "--rho",
            "0.05",
        ),
    ]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    status = json.loads((tmp_path / "run" / f"{arm}-seed0" / "status.json").read_text(encoding="utf-8"))

    config = build_config(
        {
            "data": {"tasks": ["facts/continents"], "held_out": 0, "evaluation_limit": 1},
            "train": {"batch_size": 8},
        }
    )
    loaded = load_model("embedded", dropout=0.1)
    family = EncoderDecoder(loaded)
    model = loaded.model.train()
    data = load_data(config.data)
    loader = Encodings(data, family, config.train).batches(part(data, config.data, 0), 8, 0, family)
    optimizer = Adafactor(
        model.parameters(), lr=5e-3, scale_parameter=True, relative_step=False, warmup_init=False
    )

    def loss_fn(batch: dict[str, Tensor]) -> Tensor:
        batch = trim_padding(batch)
        shifted = model.prepare_decoder_input_ids_from_labels(batch["labels"])
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits = model(**inputs, decoder_input_ids=shifted, use_cache=False).logits
        real = batch["labels"] != -100
        return torch.nn.functional.cross_entropy(logits[real], batch["labels"][real])

    sam = lowland.SAM(model, rho=0.05, ascent=0.25)
    seed_dropout(0)
    for _ in range(3):
        batch = next(loader)
        if arm == "sam":
            sam(loss_fn, batch)
        else:
            loss_fn(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert weights_sha256(model) == status["weights_sha256"]
