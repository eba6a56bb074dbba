"""A model with random weights, for pre-training and for tests."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel

from lowland.models.head import is_t5, keep_head_separate


def build_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Builds a sequence-to-sequence model with random weights.

    A T5 configuration whose decoder outputs are not scaled (T5.1.1: it was made with
    `tie_word_embeddings=False`), mT5 and UMT5 get an output matrix of their own, which transformers
    5 does not give them. Its standard deviation is d_model ** -0.5, so that the first logits have
    unit variance.

    Args:
        config: Any configuration that `AutoModelForSeq2SeqLM` knows.

    Returns:
        The model in fp32, in evaluation mode, drawn from torch's global random stream.
    """
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config)
    if is_t5(model) and not getattr(model.config, "scale_decoder_outputs", False):
        embeddings = cast(Tensor, model.get_input_embeddings().weight)
        weight = torch.empty_like(embeddings).normal_(std=model.config.d_model**-0.5)
        model.get_output_embeddings().weight = nn.Parameter(weight)
        keep_head_separate(model)
    model.eval()
    return model
