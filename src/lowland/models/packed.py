"""T5's forward pass in training over real tokens alone.

The library computes every layer for padding, too. Here the real tokens of a batch are one long row, and only
the products of queries, keys and values see sequences. The modules are the library's own, and the numbers are
the library's up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, rms_norm
from torch.utils.checkpoint import checkpoint
from transformers import MT5ForConditionalGeneration, T5ForConditionalGeneration
from transformers.activations import NewGELUActivation

IGNORED = -100
"""Label of a padding position, as everywhere in Hugging Face's models."""

KNOWN = ("torch.nn.modules.", "transformers.")
"""Prefixes of the modules whose classes may be parts of a packed model: they are called as they are."""


def is_packable(model: nn.Module) -> bool:
    """Says whether `PackedT5` computes what a model computes.

    It does for T5 and mT5 in fp32 as the library builds them, with no hook that would have to be called.
    """
    if type(model) not in (T5ForConditionalGeneration, MT5ForConditionalGeneration):
        return False
    parts: Any = model
    if any(stack.embed_tokens.weight is not parts.shared.weight for stack in (parts.encoder, parts.decoder)):
        return False
    if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
        return False
    return all(
        type(part).__module__.startswith(KNOWN)
        # The table of tokens is called as a module here, too.
        and (isinstance(part, nn.Embedding) or not (part._forward_hooks or part._forward_pre_hooks))
        for part in model.modules()
    )


def pack(batch: Mapping[str, Tensor], decoder_inputs: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Takes the real tokens out of a batch: the arguments of `PackedT5`.

    It asks for numbers of tokens, so that a batch is best packed before it goes to an accelerator.

    Args:
        batch: `input_ids` and `attention_mask` `# (batch, input_len)`, `labels` `# (batch, target_len)`.
        decoder_inputs: Shifts labels to the right, as the model does it.
    """
    attended, labels = batch["attention_mask"] != 0, batch["labels"]
    real = labels != IGNORED
    # Where a label is left out before a row's last, its token is seen by those after it all the same.
    seen = real.flip(1).cumsum(1).flip(1) > 0
    return {
        "input_ids": batch["input_ids"][attended],
        "input_shape": tuple(attended.shape),
        "input_places": _places(attended),
        "attended": None if bool(attended.all()) else attended,
        "decoder_input_ids": decoder_inputs(labels)[seen],
        "decoder_shape": tuple(seen.shape),
        "decoder_places": _places(seen),
        "scored": _places(real[seen]),
    }


class PackedT5(nn.Module):
    """A model of the T5 family that is called with the tokens of a batch that `pack` chooses.

    Args:
        model: A model for which `is_packable` holds; its weights and modes are used as they are.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        *,
        input_ids: Tensor,
        input_shape: tuple[int, int],
        input_places: Tensor | None,
        attended: Tensor | None,
        decoder_input_ids: Tensor,
        decoder_shape: tuple[int, int],
        decoder_places: Tensor | None,
        scored: Tensor | None,
    ) -> Tensor:
        """Computes the scores of the vocabulary at all positions that have a label. `# (tokens, vocabulary)`.

        Args:
            input_ids: Tokens of the inputs, row after row. `# (input tokens,)`
            input_shape: Rows and columns of the batch that they are from.
            input_places: Their places in that batch, counted through; `None` where all are computed.
            attended: Where there are inputs; `None` for everywhere. `# (batch, input_len)`
            decoder_input_ids: Tokens of the decoder's inputs, whose shape and places follow likewise.
            decoder_shape: As `input_shape`.
            decoder_places: As `input_places`.
            scored: Which of the decoder's tokens have a label; `None` for all.
        """
        model: Any = self.model
        inputs, targets = _Rows(input_shape, input_places), _Rows(decoder_shape, decoder_places)
        outside = None
        if attended is not None:
            outside = torch.zeros(attended.shape, device=input_ids.device).masked_fill_(~attended, _LEAST)
            outside = outside[:, None, None]
        embedded = model.shared(torch.cat([input_ids, decoder_input_ids]))
        encoder_in, decoder_in = embedded.split([len(input_ids), len(decoder_input_ids)])
        states = _stack(model.encoder, encoder_in, inputs, outside, None)
        states = _stack(model.decoder, decoder_in, targets, outside, (states, inputs))
        if scored is not None:
            states = states[scored]
        if getattr(model.config, "scale_decoder_outputs", False):  # mT5 never does
            states = states * model.model_dim**-0.5
        scores: Tensor = model.lm_head(states)
        return scores


_LEAST = torch.finfo(torch.float32).min


class _Rows:
    """Where a long row of tokens stands in a batch of sequences."""

    def __init__(self, shape: tuple[int, int], places: Tensor | None) -> None:
        self.shape, self.places = shape, places

    def heads(self, x: Tensor, width: int) -> Tensor:
        """Gives `(batch, heads, len, width)` for `(tokens, heads * width)`."""
        batch, length = self.shape
        if self.places is not None:
            x = x.new_zeros(batch * length, x.shape[1]).index_copy(0, self.places, x)
        return x.view(batch, length, -1, width).transpose(1, 2)

    def tokens(self, x: Tensor) -> Tensor:
        """Gives `(tokens, heads * width)` for `(batch, heads, len, width)`."""
        x = x.transpose(1, 2).reshape(self.shape[0] * self.shape[1], -1)
        return x if self.places is None else x.index_select(0, self.places)


def _stack(
    stack: Any, x: Tensor, rows: _Rows, outside: Tensor | None, source: tuple[Tensor, _Rows] | None
) -> Tensor:
    """Runs an encoder, or a decoder on the encoder's states; gives the states `(tokens, d_model)`."""
    x = stack.dropout(x)
    length = rows.shape[1]
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(length, length, device=x.device)
    if source is not None:
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu_(1)
        bias = bias.masked_fill(later, _LEAST)
    elif outside is not None:
        bias = bias + outside

    def run(block: Any, x: Tensor, bias: Tensor, states: Tensor | None) -> Tensor:
        attention, *cross, feed_forward = block.layer
        normed = _norm(attention.layer_norm, x)
        x = x + attention.dropout(_attend(attention.SelfAttention, normed, rows, normed, rows, bias))
        if states is not None and source is not None:
            normed = _norm(cross[0].layer_norm, x)
            y = _attend(cross[0].EncDecAttention, normed, rows, states, source[1], outside)
            x = x + cross[0].dropout(y)
        y = _feed(feed_forward.DenseReluDense, _norm(feed_forward.layer_norm, x))
        result: Tensor = x + feed_forward.dropout(y)
        return result

    states = None if source is None else source[0]
    for block in stack.block:
        if block.gradient_checkpointing and torch.is_grad_enabled():  # without dropout, too
            x = checkpoint(run, block, x, bias, states, use_reentrant=False)
        else:
            x = run(block, x, bias, states)
    result: Tensor = stack.dropout(_norm(stack.final_layer_norm, x))
    return result


def _attend(
    attention: Any, x: Tensor, rows: _Rows, source: Tensor, columns: _Rows, bias: Tensor | None
) -> Tensor:
    """Lets tokens attend to a source; `bias` is added to the scores `(batch, heads, rows, columns)`."""
    width = attention.key_value_proj_dim
    query = rows.heads(attention.q(x), width)
    key, value = columns.heads(attention.k(source), width), columns.heads(attention.v(source), width)
    scores = query @ key.transpose(2, 3)
    scores = scores.float() if bias is None else scores + bias
    weights = dropout(scores.softmax(-1).to(value.dtype), attention.dropout, attention.training)
    result: Tensor = attention.o(rows.tokens(weights @ value))
    return result


def _feed(dense: Any, x: Tensor) -> Tensor:
    # The library's gelu_new is the same function in eight operations.
    activate = partial(gelu, approximate="tanh") if isinstance(dense.act, NewGELUActivation) else dense.act
    x = activate(dense.wi_0(x)) * dense.wi_1(x) if hasattr(dense, "wi_0") else activate(dense.wi(x))
    result: Tensor = dense.wo(dense.dropout(x))
    return result


def _norm(layer: Any, x: Tensor) -> Tensor:
    """Computes T5's layer norm (scale only) in fp32, and gives the type that the next matrix wants."""
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else layer.weight.dtype
    with torch.autocast(kind, enabled=False):
        return rms_norm(x, layer.weight.shape, layer.weight, layer.variance_epsilon).to(dtype)


def _places(mask: Tensor) -> Tensor | None:
    return None if bool(mask.all()) else mask.flatten().nonzero()[:, 0]
