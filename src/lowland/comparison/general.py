"""The loss on general text: spans of it for T5, the next token for causal models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowland.families.base import Family
from lowland.families.causal import Causal
from lowland.families.encoder_decoder import EncoderDecoder

TEXT = Path(__file__).with_name("general.txt").read_text(encoding="utf-8")
"""Ninety plain sentences, written for this."""

PIECE, MOST = 128, 128
"""Tokens of a piece of text, and the largest number of pieces."""

EVERY, SPAN = 20, 3
"""T5 predicts one span of `SPAN` in `EVERY` tokens: the density and span length of its pre-training."""


def general_loss(family: Family, batch_size: int = 32) -> float | None:
    """Computes a model's mean loss of a token of the text in nats, on its first `MOST` pieces.

    The model's dropout is off afterwards. `None` for a classifier, and without T5's sentinels.
    """
    sentinels = _sentinels(family)
    if not sentinels and not isinstance(family, Causal):
        return None
    tokenizer = family.tokenizer
    ids = tokenizer(" ".join(TEXT.split()), add_special_tokens=False, verbose=False)["input_ids"]
    length = min(family.lengths(PIECE, PIECE)[0], len(ids))
    number = min(MOST, len(ids) // length)
    pieces = np.array(ids[: number * length], dtype=np.int64).reshape(number, length)
    pairs = [_spans(piece, sentinels, int(tokenizer.eos_token_id)) for piece in pieces] if sentinels else []
    rows: Any = zip(*pairs, strict=True) if pairs else (pieces, pieces)
    inputs, labels = (torch.from_numpy(np.stack(row)) for row in rows)
    model = family.loaded.model.eval()
    loss = family.loss(model.device)
    total = 0.0
    with torch.no_grad():
        for batch_ids, batch_labels in zip(inputs.split(batch_size), labels.split(batch_size), strict=True):
            batch: dict[str, Tensor] = {
                "input_ids": batch_ids,
                "attention_mask": torch.ones_like(batch_ids),
                "labels": batch_labels.clone(),
            }
            total += float(loss(batch)) * len(batch_ids)  # every piece has as many labels
    return total / number


def _sentinels(family: Family) -> list[int]:
    """Finds T5's sentinels in the tokenizer of an encoder-decoder, as many as a piece needs."""
    if not isinstance(family, EncoderDecoder):
        return []
    known = family.tokenizer.get_vocab()
    names = [f"<extra_id_{number}>" for number in range(PIECE // EVERY + 1)]
    return [known[name] for name in names] if all(name in known for name in names) else []


def _spans(piece: np.ndarray, sentinels: list[int], eos: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts spans out of a piece: the input has a sentinel for each, the target what was there."""
    inputs: list[int] = []
    targets: list[int] = []
    at = 0
    for sentinel, start in zip(sentinels, range(EVERY // 2, len(piece) - SPAN, EVERY), strict=False):
        inputs += [*piece[at:start], sentinel]
        at = start + SPAN
        targets += [sentinel, *piece[start:at]]
    return np.array([*inputs, *piece[at:], eos]), np.array([*targets, eos])
