"""A greedy loop that drops finished rows, for T5.

`model.generate` computes every row of a batch until the last one ends, and in
the middle of a fine-tuning there is nearly always one that runs on to the
limit. Here a row leaves the batch with its EOS. The tokens are the library's;
only where two logits differ by rounding alone may a batch with fewer rows
round the other way.
"""

from __future__ import annotations

import inspect

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

MODEL_TYPES = frozenset({"t5", "mt5", "umt5"})

# Fields of a generation configuration that do not change what greedy decoding writes.
HARMLESS = frozenset(
    {
        "_from_model_config",
        "bos_token_id",
        "decoder_start_token_id",
        "do_sample",
        "early_stopping",
        "eos_token_id",
        "length_penalty",
        "max_length",
        "max_new_tokens",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "pad_token_id",
        "return_dict_in_generate",
        "temperature",
        "top_k",
        "top_p",
        "transformers_version",
        "use_cache",
    }
)


def is_plain(model: PreTrainedModel) -> bool:
    """Says whether `greedy` does for this model what `model.generate` would do."""
    settings = model.generation_config.to_diff_dict() if model.generation_config is not None else {}
    return model.config.model_type in MODEL_TYPES and HARMLESS.issuperset(settings)


def greedy(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, max_new_tokens: int) -> Tensor:
    """Writes the likeliest next token until EOS, for each row.

    A row whose logits are not finite (weights that have diverged) ends there.

    Args:
        model: A model for which `is_plain` holds, in evaluation mode.
        input_ids: Token ids (batch x width), padded on the right.
        attention_mask: 1 at tokens and 0 at padding (batch x width).
        max_new_tokens: Most tokens that are written, EOS included.

    Returns:
        The tokens written (batch x max_new_tokens), EOS included, padded.
    """
    device = input_ids.device
    settings = model.generation_config
    eos = torch.tensor(settings.eos_token_id, device=device).reshape(-1)
    written = torch.full((len(input_ids), max_new_tokens), settings.pad_token_id, device=device)
    rows = torch.arange(len(input_ids), device=device)
    tokens = torch.full_like(rows, settings.decoder_start_token_id)
    states = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    parameters = inspect.signature(type(model).forward).parameters
    name = "cache" if "cache" in parameters else "past_key_values"  # before transformers 5.24
    for step in range(max_new_tokens):
        logits = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=attention_mask,
            decoder_input_ids=tokens[:, None],
            use_cache=True,
            **{name: cache},
        ).logits[:, -1]
        best, tokens = logits.max(dim=-1)
        tokens = torch.where(best.isfinite(), tokens, eos[0])
        written[rows, step] = tokens
        going = torch.isin(tokens, eos, invert=True).nonzero()[:, 0]
        if len(going) == 0:
            break
        if len(going) < len(rows):
            cache.batch_select_indices(going)
            rows, tokens, states, attention_mask = (x[going] for x in (rows, tokens, states, attention_mask))
    return written
