"""What a model writes for each input text, by greedy decoding."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lowland.data import encode_texts
from lowland.data.encode import TokenIds, decode
from lowland.models.load import LoadedModel, quiet_transformers

Encode: TypeAlias = Callable[[Sequence[str], int], tuple[Sequence[TokenIds], int]]

LONGEST_LABEL = 512
"""Tokens of a class word, generously."""


def generate(
    loaded: LoadedModel,
    texts: Sequence[str],
    *,
    input_length: int,
    target_length: int,
    batch_size: int = 64,
    bf16: bool = False,
    on_cut: Callable[[int], None] = lambda number: None,
    labels: Sequence[str] = (),
    encode: Encode | None = None,
) -> list[str]:
    """Lets the model write a text for each input: the likeliest token each time, or by its beams.

    Args:
        loaded: The model and its tokenizer. The modes of its modules and every random stream are as
            before when this returns.
        texts: The input texts.
        input_length: Most tokens of an input, EOS included; longer ones are cut.
        target_length: Most tokens that are written, EOS included.
        batch_size: Inputs at a time.
        bf16: Whether to compute under bf16 autocast.
        on_cut: Called with the number of inputs that were cut, where there are any.
        labels: Words among which the model chooses; see `written_labels`.
        encode: Encodes texts, cut to a length, and counts those that were cut; T5's rule by default.

    Returns:
        One string for each input, in their order, without special tokens.
    """
    model: Any = loaded.model
    tokenizer = loaded.tokenizer
    encoded, cut = (encode or (lambda texts, n: encode_texts(texts, tokenizer, n)))(texts, input_length)
    if cut:
        on_cut(cut)
    # Inputs of like length share a batch, so that little padding is computed.
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    predictions = [""] * len(texts)
    # With a cache, ProphetNet ends in an error of transformers' own.
    options = {"use_cache": False} if model.config.model_type == "prophetnet" else {}
    autocast = torch.autocast(model.device.type, torch.bfloat16, enabled=bf16)
    with evaluation_mode(model), torch.inference_mode(), autocast, quiet_transformers():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            rows = [torch.from_numpy(encoded[index]).long() for index in chosen]
            # A model that goes on with its input must end at the input's last token.
            side = "right" if model.config.is_encoder_decoder else "left"
            pad_token_id = model.generation_config.pad_token_id
            input_ids = pad_sequence(rows, batch_first=True, padding_value=pad_token_id, padding_side=side)
            mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side=side)
            written = model.generate(
                input_ids=input_ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,
                num_return_sequences=1,
                return_dict_in_generate=False,
                max_new_tokens=target_length,
                tokenizer=tokenizer,  # for texts at which to stop, where a kept configuration has some
                **options,
            )
            if side == "left":
                written = written[:, input_ids.shape[1] :]
            for index, string in zip(chosen, decode(written, tokenizer), strict=True):
                predictions[index] = string
    words = written_labels(labels, tokenizer)
    return [words.get(prediction, prediction) for prediction in predictions]


def written_labels(labels: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Finds the labels that a tokenizer cannot write as they are, such as `True` where it folds case.

    The model is trained on the token ids of `True`; whoever writes these ids means that label. What the
    tokenizer makes of them is mapped to the label, where this tells it from all others.
    """
    if not labels:
        return {}
    encoded, _ = encode_texts(labels, tokenizer, LONGEST_LABEL, target=True)
    written = decode(encoded, tokenizer)
    return {
        text: label
        for text, label in zip(written, labels, strict=True)
        if text and text not in labels and written.count(text) == 1
    }


@contextlib.contextmanager
def evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """Switches dropout off; afterwards each module has its own mode again."""
    modes = [(module, module.training) for module in nn.Module.modules(model)]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
