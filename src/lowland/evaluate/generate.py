"""Greedy decoding: what the model writes for each input text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from lowland.data import encode_texts
from lowland.models import LoadedModel


def generate(
    loaded: LoadedModel,
    texts: Sequence[str],
    *,
    input_length: int,
    target_length: int,
    batch_size: int = 64,
    bf16: bool = False,
) -> list[str]:
    """Lets the model write a text for each input, always taking the likeliest next token.

    Args:
        loaded: The model and its tokenizer. The model's mode and every random stream are as before
            when this returns.
        texts: The input texts.
        input_length: Most tokens of an input, EOS included; longer ones are cut.
        target_length: Most tokens that are written.
        batch_size: Inputs at a time.
        bf16: Whether to compute under bf16 autocast.

    Returns:
        One string for each input, in the order of the inputs, without special tokens.
    """
    model: Any = loaded.model  # `generate` is typed for another class
    tokenizer = loaded.tokenizer
    encoded, _ = encode_texts(texts, tokenizer, input_length)
    # Inputs of like length share a batch, so that little padding is computed.
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    predictions = [""] * len(texts)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                rows = [torch.from_numpy(encoded[index]).long() for index in chosen]
                input_ids = pad_sequence(rows, batch_first=True, padding_value=model.config.pad_token_id)
                mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
                written = model.generate(
                    input_ids=input_ids.to(model.device),
                    attention_mask=mask.to(model.device),
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=target_length,
                )
                strings = tokenizer.batch_decode(
                    written, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
                for index, string in zip(chosen, strings, strict=True):
                    predictions[index] = string
    finally:
        model.train(was_training)
    return predictions
