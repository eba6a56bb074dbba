"""The training loss: a batch on its device, under autocast if asked, and the mean over real target tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from lowland.data import IGNORED, trim_padding
from lowland.models import PackedT5, is_packable, pack


class BatchLoss:
    """A loss whose batches lose needless padding, go to a device, and are computed under autocast if asked.

    Args:
        module: The module whose forward pass is called.
        compute: Computes the loss of a batch with the module, a scalar.
        device: The device.
        bf16: Whether under bf16 autocast.
        prepare: What is done to a batch before it goes to the device.

    Attributes:
        module: As given.
    """

    def __init__(
        self,
        module: nn.Module,
        compute: Callable[[Any, dict[str, Any]], Tensor],
        device: torch.device,
        *,
        bf16: bool = False,
        prepare: Callable[[Mapping[str, Tensor]], dict[str, Any]] = trim_padding,
    ) -> None:
        self.module = module
        self._compute, self._device, self._bf16, self._prepare = compute, device, bf16, prepare

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Computes the loss of a batch, which is best on the CPU, where it is packed or trimmed."""
        moved = {
            name: value.to(self._device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in self._prepare(batch).items()
        }
        with torch.autocast(self._device.type, torch.bfloat16) if self._bf16 else nullcontext():
            return self._compute(self.module, moved)


def encoder_decoder_loss(
    model: PreTrainedModel,
    device: torch.device,
    *,
    bf16: bool = False,
    fast: bool = True,
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    **terms: Any,
) -> BatchLoss:
    """Makes the mean loss over a batch's real target tokens, in the cheapest way that the model allows.

    The model's own loss is not used: it lacks the z-loss and would be computed besides.

    Args:
        model: An encoder-decoder.
        device: Where it computes.
        bf16: Whether under bf16 autocast.
        fast: Whether to compute real tokens only where that can be done for the model.
        wrap: What is done to the module whose forward pass is called, such as giving it to several processes.
        **terms: See `token_loss`.
    """
    shift = decoder_inputs(model)
    if fast and is_packable(model):

        def prepare(batch: Mapping[str, Tensor]) -> dict[str, Any]:
            return {**pack(batch, shift), "targets": batch["labels"][batch["labels"] != IGNORED]}

        def packed(module: Any, batch: dict[str, Any]) -> Tensor:
            targets = batch.pop("targets")
            return token_loss(module(**batch), targets, **terms)

        return BatchLoss(wrap(PackedT5(model)), packed, device, bf16=bf16, prepare=prepare)

    def whole(module: Any, batch: dict[str, Any]) -> Tensor:
        return token_loss(target_logits(module, batch, shift), batch["labels"], **terms)

    return BatchLoss(wrap(model), whole, device, bf16=bf16)


def target_logits(module: Any, batch: Mapping[str, Tensor], shift: Callable[[Tensor], Tensor]) -> Tensor:
    """Runs an encoder-decoder, wrapped or not, on a batch. `# (batch, target_len, vocabulary)`.

    Args:
        module: The module whose forward pass is called.
        batch: `input_ids` and `attention_mask` `# (batch, input_len)`, `labels` `# (batch, target_len)`.
        shift: Shifts labels to the right, as the model does it; see `decoder_inputs`.
    """
    logits: Tensor = module(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=shift(batch["labels"]),
        use_cache=False,
    ).logits
    return logits


def decoder_inputs(model: Any) -> Callable[[Tensor], Tensor]:
    """Gives what shifts labels to the right to a model's decoder inputs: its own method, if it has one.

    M2M100, NLLB and Blenderbot have none; their `forward` does the same as the function here.
    """
    own: Callable[[Tensor], Tensor] | None = getattr(model, "prepare_decoder_input_ids_from_labels", None)

    def shift(labels: Tensor) -> Tensor:
        start = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
        shifted = torch.cat([start, labels[:, :-1]], dim=1)
        return shifted.masked_fill(shifted == IGNORED, model.config.pad_token_id)

    return own or shift


def token_loss(logits: Tensor, labels: Tensor, z_loss: float = 0.0, label_smoothing: float = 0.0) -> Tensor:
    """Computes the mean loss over real target tokens.

    Args:
        logits: Scores of the vocabulary. `# (..., vocabulary)`
        labels: Target tokens, `IGNORED` where there is none. `# (...)`
        z_loss: Weight of log(Z)^2, which keeps the softmax's normaliser near 1.
        label_smoothing: The part of each target's probability that all tokens share.

    Returns:
        A scalar in fp32.

    Source:
        Mesh TensorFlow's softmax cross-entropy, with which T5 was trained (z_loss 1e-4).
    """
    real = labels != IGNORED
    scores = logits[real].float()  # (tokens, vocabulary)
    loss = cross_entropy(scores, labels[real], label_smoothing=label_smoothing)
    if z_loss:
        loss = loss + z_loss * torch.logsumexp(scores, dim=-1).square().mean()
    return loss
