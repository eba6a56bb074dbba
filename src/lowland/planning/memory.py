"""What training takes of a device's memory, told from the shapes of a model before any of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from transformers import MT5Config, PreTrainedModel, T5Config
from transformers.modeling_layers import GradientCheckpointingLayer

from lowland.config.experiment import ExperimentConfig
from lowland.families.base import plain_module
from lowland.models.head import build_model
from lowland.parameters.rows import is_table
from lowland.sam import SAMConfig
from lowland.train.settings import TrainSettings

_SHAPES = {  # d_model, d_ff, heads, layers of encoder and decoder
    "small": (512, 1024, 6, 8),
    "base": (768, 2048, 12, 12),
    "large": (1024, 2816, 16, 24),
    "xl": (2048, 5120, 32, 24),
}
PAPER_MODELS = tuple(f"google/{kind}-{size}" for kind in ("t5-v1_1", "mt5") for size in _SHAPES)
"""The paper's models, whose shapes are known without a download."""

BF16_SHARE = 0.5
"""What is left of the activations under bf16 autocast."""


def outline(name: str) -> PreTrainedModel:
    """Builds one of `PAPER_MODELS` without its weights, on torch's meta device.

    Source:
        T5's gin files `models/t5.1.1.*`; tables of embeddings are padded to 32128 and 250112 rows.
    """
    width, hidden, heads, layers = _SHAPES[name.rpartition("-")[2]]
    kind, vocabulary = (MT5Config, 250112) if "mt5" in name else (T5Config, 32128)
    shape: dict[str, Any] = {"d_model": width, "d_ff": hidden, "num_heads": heads, "d_kv": 64}
    shape |= {"num_layers": layers, "num_decoder_layers": layers, "tie_word_embeddings": False}
    config = kind(vocab_size=vocabulary, feed_forward_proj="gated-gelu", **shape)
    with torch.device("meta"):
        return build_model(config)


def training_memory(
    model: PreTrainedModel,
    config: ExperimentConfig,
    examples: int,
    lengths: tuple[int, int],
    *,
    bf16: bool,
    processes: int = 1,
) -> dict[str, int]:
    """Counts what training takes at its peak, by the arm that takes the most.

    Args:
        model: The model, or its outline.
        config: The experiment.
        examples: Examples of a forward pass, each of the most tokens.
        lengths: The most tokens of an input and of a target.
        bf16: Whether it trains under bf16 autocast.
        processes: How many train together.
    """
    trained = sum(4 * weight.numel() for weight in model.parameters() if weight.requires_grad)
    kept = activation_bytes(model, *lengths, checkpointed=config.train.gradient_checkpointing)
    arms = [_sam_memory(model, config.of(arm).sam, trained, processes) for arm in config.arms]
    return {
        "weights": sum(4 * weight.numel() for weight in model.parameters()),
        "gradients": trained,
        **max(arms, key=lambda memory: sum(memory.values())),
        "optimizer": optimizer_bytes(model, config.train),
        "activations": round(examples * kept * (BF16_SHARE if bf16 else 1.0)),
    }


def _sam_memory(model: nn.Module, sam: SAMConfig, trained: int, processes: int) -> dict[str, int]:
    if not sam.rho:
        return {}
    copied = trained
    if sam.direction == "ascent" and processes == 1:
        # Of tables of embeddings only the rows are kept that the ascent's examples use.
        tables = {part.weight for part in model.modules() if is_table(part)}
        tables -= {part.weight for part in model.modules() if isinstance(part, nn.Linear)}  # tied: all rows
        copied -= sum(4 * weight.numel() for weight in tables)
    memory = {"SAM's copy of the weights": copied}
    return memory | ({"momentum of the direction": trained} if sam.direction == "momentum" else {})


def optimizer_bytes(model: nn.Module, settings: TrainSettings) -> int:
    """Counts the bytes that an optimizer keeps for a model.

    AdaFactor keeps a row and a column for each matrix, AdamW two tensors of the size of each weight.
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adamw":
        return sum(8 * weight.numel() for weight in weights)
    return sum(
        4 * (w.numel() // w.shape[-1] + w.numel() // w.shape[-2] if w.dim() >= 2 else w.numel())
        for w in weights
    )


def activation_bytes(
    model: PreTrainedModel, input_length: int, target_length: int, *, checkpointed: bool = False
) -> float:
    """Counts the bytes that one example's forward pass keeps for the backward pass, in fp32.

    Where it is checkpointed, only the inputs of layers are kept, and one layer at a time is computed again.
    Adapters, which are small, are left out.
    """
    base: PreTrainedModel = plain_module(model)
    tensors = {**dict(base.named_parameters()), **dict(base.named_buffers())}
    shapes = {
        name: tensor.detach().to("meta").requires_grad_(tensor.requires_grad)
        for name, tensor in tensors.items()
    }
    attention, lengths = base.config._attn_implementation, (input_length, target_length)
    base.set_attn_implementation("eager")
    try:
        return _kept(base, shapes, lengths, checkpointed)
    except Exception:  # a pass that reads values of tensors (experts, LED) needs the weights
        return _kept(base, tensors, lengths, checkpointed)
    finally:
        base.set_attn_implementation(attention)


def _kept(
    model: PreTrainedModel, weights: Mapping[str, Tensor], lengths: tuple[int, int], checkpointed: bool
) -> float:
    """Counts what a pass with these weights keeps."""
    own = {tensor.untyped_storage()._cdata for tensor in weights.values()}
    # The storage is held, so that no other gets its address; beside it the layer that keeps it, 0 for none.
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}
    inputs: list[int] = []  # bytes of each layer's
    inside = [0]

    def enter(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs.append(arguments[0].untyped_storage().nbytes())
        inside.append(len(inputs))

    def leave(*_: object) -> None:
        inside.pop()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept.setdefault(storage._cdata, (storage, inside[-1]))
        return tensor

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    hooks = [module.register_forward_pre_hook(enter) for module in layers]
    hooks += [module.register_forward_hook(leave) for module in layers]
    device, training = next(iter(weights.values())).device, model.training
    model.train()
    try:
        # Dropout of a real model must not move the random streams.
        streams = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with streams, saved_tensors_hooks(keep, lambda tensor: tensor):
            _forward(model, weights, lengths, device)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    sizes = [0] * (1 + len(inputs))
    for storage, layer in kept.values():
        sizes[layer] += storage.nbytes()
    return float(sizes[0] + sum(inputs) + max(sizes[1:]) if checkpointed and inputs else sum(sizes))


def _forward(
    model: PreTrainedModel, weights: Mapping[str, Tensor], lengths: tuple[int, int], device: torch.device
) -> None:
    inputs = torch.zeros(1, lengths[0], dtype=torch.long, device=device)
    arguments: dict[str, Any] = {"input_ids": inputs}
    if model.config.is_encoder_decoder and model.can_generate():
        arguments["decoder_input_ids"] = inputs.new_zeros(1, max(1, lengths[1]))
    elif isinstance(end := model.config.eos_token_id, int):
        inputs[:, -1] = end  # at which a classifier with a decoder (BART's) looks
    if model.can_generate():
        arguments["use_cache"] = False
    scores = functional_call(model, dict(weights), kwargs=arguments).logits.float()
    # As `token_loss`, which chooses the real tokens by their numbers; here there are none.
    scores = scores.reshape(-1, scores.shape[-1])
    cross_entropy(scores, inputs.new_zeros(len(scores))) + torch.logsumexp(scores, -1).square().mean()


def available_memory(device: torch.device) -> int:
    """Gives the bytes that are free on a device; for the CPU, within what its container allows."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        return min(free, limit - int((group / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return free
