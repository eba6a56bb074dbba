"""The training loss of text-to-text models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from lowland.data import IGNORED, trim_padding
from lowland.models import PackedT5, is_packable, pack


class BatchLoss:
    """The mean loss over a batch's real target tokens, in the cheapest way that its model allows.

    Args:
        model: An encoder-decoder.
        device: Where it computes.
        bf16: Whether under bf16 autocast.
        fast: Whether to take the fast operations where there are some for the model.
        z_loss: See `token_loss`.
        label_smoothing: See `token_loss`.
        wrap: What is done to the module whose forward pass is called, such as giving it to several processes.

    Attributes:
        module: The wrapped module.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        device: torch.device,
        *,
        bf16: bool = False,
        fast: bool = True,
        z_loss: float = 0.0,
        label_smoothing: float = 0.0,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    ) -> None:
        self._packed = fast and is_packable(model)
        self._decoder_inputs = cast(Callable[[Tensor], Tensor], model.prepare_decoder_input_ids_from_labels)
        self._device, self._bf16, self._z_loss = device, bf16, z_loss
        self._smoothing = label_smoothing
        self.module: nn.Module = wrap(PackedT5(model) if self._packed else model)

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Computes the loss of a batch, best in the computer's own memory; see `sequence_loss`."""
        # An autocast around it, such as that of an ascent in bf16, holds in fp32, too.
        with torch.autocast(self._device.type, torch.bfloat16) if self._bf16 else nullcontext():
            if self._packed:
                packed = {
                    name: self._move(value) for name, value in pack(batch, self._decoder_inputs).items()
                }
                targets = self._move(batch["labels"][batch["labels"] != IGNORED])
                if self._smoothing:
                    return token_loss(self.module(**packed), targets, self._z_loss, self._smoothing)
                return real_token_loss(self.module(**packed), targets, self._z_loss)
            # The ascent's few examples are often shorter than the whole batch's longest.
            moved = {name: self._move(value) for name, value in trim_padding(batch).items()}
            return sequence_loss(self.module, self._decoder_inputs, moved, self._z_loss, self._smoothing)

    def _move(self, value: Any) -> Any:
        return value.to(self._device, non_blocking=True) if isinstance(value, Tensor) else value


def token_loss(logits: Tensor, labels: Tensor, z_loss: float = 0.0, label_smoothing: float = 0.0) -> Tensor:
    """Computes the mean loss over real target tokens.

    Args:
        logits: Scores of the vocabulary. `# (batch, target_len, vocabulary)`
        labels: Target tokens, `IGNORED` where there is none. `# (batch, target_len)`
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


def sequence_loss(
    model: Callable[..., Any],
    decoder_inputs: Callable[[Tensor], Tensor],
    batch: Mapping[str, Tensor],
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Runs an encoder-decoder on a batch and computes its loss.

    The model's own loss is not used: it lacks the z-loss and would be computed besides.

    Args:
        model: The model, wrapped or not.
        decoder_inputs: Shifts labels to the right, as the model does it.
        batch: `input_ids` and `attention_mask` `# (batch, input_len)`, `labels` `# (batch, target_len)`.
        z_loss: See `token_loss`.
        label_smoothing: See `token_loss`.

    Returns:
        The mean loss over the batch's real target tokens, a scalar.
    """
    output = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=decoder_inputs(batch["labels"]),
        use_cache=False,
    )
    return token_loss(output.logits, batch["labels"], z_loss, label_smoothing)


def real_token_loss(scores: Tensor, targets: Tensor, z_loss: float = 0.0) -> Tensor:
    """Computes `token_loss` where there are real target tokens only, with one softmax for all of it.

    Args:
        scores: Scores of the vocabulary, in any type. `# (tokens, vocabulary)`
        targets: Target tokens. `# (tokens,)`
        z_loss: As in `token_loss`.

    Returns:
        A scalar in fp32. Its gradient has no gradient of its own.
    """
    function: Any = _RealTokenLoss
    loss: Tensor = function.apply(scores, targets, z_loss)
    return loss


class _RealTokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: Tensor, z_loss: float) -> Tensor:
        chosen = targets[:, None]
        logarithms = torch.log_softmax(scores, dim=-1, dtype=torch.float32)
        likelihood = logarithms.gather(1, chosen)
        log_z = scores.gather(1, chosen).float() - likelihood
        ctx.save_for_backward(logarithms, log_z, chosen)
        ctx.dtype, ctx.z_loss = scores.dtype, z_loss
        loss = -likelihood.mean()
        return loss + z_loss * log_z.square().mean() if z_loss else loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        logarithms, log_z, chosen = ctx.saved_tensors
        each = gradient / len(chosen)
        slope = logarithms.exp()
        slope.mul_((1.0 + 2.0 * ctx.z_loss * log_z) * each)
        slope.scatter_add_(1, chosen, (-each).expand_as(chosen))
        return slope.to(ctx.dtype), None, None
