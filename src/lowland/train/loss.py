"""The training loss of text-to-text models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

IGNORED = -100
"""Label of a padding position, as everywhere in Hugging Face's models."""


def token_loss(logits: Tensor, labels: Tensor, z_loss: float = 0.0) -> Tensor:
    """Computes the mean loss over real target tokens.

    Args:
        logits: Scores of the vocabulary. `# (batch, target_len, vocabulary)`
        labels: Target tokens, `IGNORED` where there is none. `# (batch, target_len)`
        z_loss: Weight of log(Z)^2, which keeps the softmax's normaliser near 1.

    Returns:
        A scalar in fp32.

    Source:
        Mesh TensorFlow's softmax cross-entropy, with which T5 was trained (z_loss 1e-4).
    """
    real = labels != IGNORED
    scores = logits[real].float()  # (tokens, vocabulary)
    loss = cross_entropy(scores, labels[real])
    if z_loss:
        loss = loss + z_loss * torch.logsumexp(scores, dim=-1).square().mean()
    return loss


def sequence_loss(
    model: Callable[..., Any],
    decoder_inputs: Callable[[Tensor], Tensor],
    batch: Mapping[str, Tensor],
    z_loss: float = 0.0,
) -> Tensor:
    """Runs an encoder-decoder on a batch and computes its loss.

    The model's own loss is not used: it lacks the z-loss and would be computed besides.

    Args:
        model: The model, wrapped or not.
        decoder_inputs: Shifts labels to the right, as the model does it.
        batch: `input_ids` and `attention_mask` `# (batch, input_len)`, `labels` `# (batch, target_len)`.
        z_loss: See `token_loss`.

    Returns:
        The mean loss over the batch's real target tokens, a scalar.
    """
    output = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=decoder_inputs(batch["labels"]),
        use_cache=False,
    )
    return token_loss(output.logits, batch["labels"], z_loss)
