"""Whether a T5 model has its own output matrix (T5.1.1, mT5, UMT5) or shares the token embeddings (T5 1.0).

Transformers 5 says "tied" for the whole family: whatever ties again would overwrite the output matrix, and
UMT5 scales its logits as if it were tied. So the live configuration is made to say what the model is.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel

T5_FAMILY = frozenset({"t5", "mt5", "umt5", "longt5", "switch_transformers"})


def is_t5(model: PreTrainedModel) -> bool:
    """Says whether a model belongs to the T5 family."""
    return model.config.model_type in T5_FAMILY


def has_separate_head(model: PreTrainedModel) -> bool:
    """Says whether the output matrix is another tensor than the token embeddings."""
    head = model.get_output_embeddings()
    return head is not None and head.weight is not model.get_input_embeddings().weight


def keep_head_separate(model: PreTrainedModel) -> None:
    """Records in a T5 model that its output matrix is its own, as official T5.1.1 checkpoints say it."""
    model.config.tie_word_embeddings = False
    model.all_tied_weights_keys.pop("lm_head.weight", None)


def build_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Builds a sequence-to-sequence model with random weights, in fp32 and evaluation mode.

    A T5.1.1 (`tie_word_embeddings=False`), mT5 or UMT5 gets an output matrix of its own, which transformers 5
    does not give it, with standard deviation d_model ** -0.5: the first logits have unit variance.
    """
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config)
    if is_t5(model) and not getattr(model.config, "scale_decoder_outputs", False):
        embeddings = cast(Tensor, model.get_input_embeddings().weight)
        weight = torch.empty_like(embeddings).normal_(std=model.config.d_model**-0.5)
        model.get_output_embeddings().weight = nn.Parameter(weight)
        keep_head_separate(model)
    model.eval()
    return model
