"""What is left of a model after its weights are rounded to 8 or 4 bits.

Only the rounding is done, not the fast arithmetic: the weights keep their type, the activations stay.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How weights are rounded."""

    name: str
    bits: int  # of a weight
    group: int | None  # neighbouring inputs of an output that share a scale; `None` for all (per channel)
    symmetric: bool  # a grid symmetric around 0; if not, it spans the group's range


# Per output channel, symmetric: torchao's and ONNX Runtime's weight-only int8.
INT8 = Rounding(name="int8", bits=8, group=None, symmetric=True)
# In groups of 128, over each group's range: the round-to-nearest of GPTQ's and AWQ's papers.
INT4 = Rounding(name="int4", bits=4, group=128, symmetric=False)
ROUNDINGS = (INT8, INT4)


def round_weight(weight: Tensor, rounding: Rounding) -> Tensor:
    """Rounds a linear layer's weight `# (outputs, inputs)` to the nearest values that a few bits can hold."""
    outputs, inputs = weight.shape
    group = min(rounding.group or inputs, inputs)
    # Zeros at the end widen no group's range: a grid holds 0 anyway.
    padded = nn.functional.pad(weight.detach().float(), (0, -inputs % group))
    groups = padded.reshape(-1, group)  # (outputs * groups, group)
    levels = 2**rounding.bits - 1
    if rounding.symmetric:
        least, most = -(levels // 2), levels // 2
        scale = groups.abs().amax(1) / most
        zero = torch.zeros_like(scale)
    else:
        least, most = 0, levels
        low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
        scale = (high - low) / levels
        zero = torch.round(-low / torch.where(scale > 0, scale, 1.0))
    scale = torch.where(scale > 0, scale, 1.0)  # a group of zeros stays as it is
    rounded = torch.fake_quantize_per_channel_affine(groups, scale, zero.int(), 0, least, most)
    return rounded.reshape(outputs, -1)[:, :inputs].to(weight.dtype)


def linear_weights(model: nn.Module) -> list[tuple[nn.Parameter, bool]]:
    """Lists the weights of a model's linear layers, each once, and whether it is stored as (inputs, outputs).

    Left out are weights that are packed already, embeddings, and the output layer of a language model.
    """
    kept = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    if callable(head := getattr(model, "get_output_embeddings", None)) and (last := head()) is not None:
        kept.add(id(last.weight))
    found: dict[int, tuple[nn.Parameter, bool]] = {}
    for module in model.modules():
        packed = not (isinstance(module, nn.Linear | Conv1D) and module.weight.is_floating_point())
        if not packed and id(module.weight) not in kept:
            found[id(module.weight)] = (cast(nn.Parameter, module.weight), isinstance(module, Conv1D))
    return list(found.values())


@contextlib.contextmanager
def rounded_weights(model: nn.Module, rounding: Rounding) -> Iterator[int]:
    """Rounds the weights of a model's linear layers for as long as the context lasts.

    Afterwards every weight is bit for bit what it was: a copy of those of linear layers is kept meanwhile.
    Yields how many numbers were rounded.
    """
    weights = linear_weights(model)
    if not weights:
        raise ValueError(f"{type(model).__name__} has no linear layer whose weights could be rounded.")
    saved = [weight.detach().clone() for weight, _ in weights]
    try:
        with torch.no_grad():
            for weight, transposed in weights:
                as_linear = weight.T if transposed else weight
                as_linear.copy_(round_weight(as_linear, rounding))
        yield sum(weight.numel() for weight in saved)
    finally:
        with torch.no_grad():
            for (weight, _), before in zip(weights, saved, strict=True):
                weight.copy_(before)
