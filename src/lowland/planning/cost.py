"""What training costs: memory and arithmetic by the shapes of a model, and the speed of this machine.

Shapes are enough: the model is put on torch's meta device, where tensors have no numbers, and a forward
pass there tells exactly how many multiplications it takes and how much it keeps for the backward pass.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, MT5Config, PreTrainedModel, T5Config
from transformers.modeling_layers import GradientCheckpointingLayer

from lowland.families.base import Family, plain_module
from lowland.models import build_model, quiet_transformers
from lowland.models.head import is_t5
from lowland.parameters.rows import is_table
from lowland.sam import SAMConfig
from lowland.train import TrainSettings
from lowland.train.machine import resolve_operations

_SHAPES = {  # d_model, d_ff, heads, layers of encoder and decoder
    "small": (512, 1024, 6, 8),
    "base": (768, 2048, 12, 12),
    "large": (1024, 2816, 16, 24),
    "xl": (2048, 5120, 32, 24),
}

BACKWARD = 2.0
"""A backward pass takes twice the arithmetic of its forward pass: gradients of inputs and of weights."""

TRIAL_SECONDS = 0.4
"""About how long the speed of this machine is measured."""

MATMUL_SHARE = 0.5
"""How much of the speed of bare matrix products a model reaches where it cannot be measured itself."""


def known_models() -> list[str]:
    """Names the paper's models, whose shapes are known without a download."""
    return [f"google/{kind}-{size}" for kind in ("t5-v1_1", "mt5") for size in _SHAPES]


def outline(name: str) -> PreTrainedModel:
    """Builds a model of the paper, or one in a directory, without its weights.

    Args:
        name: One of `known_models()`, or a directory with a `config.json`.

    Returns:
        The model on the meta device.

    Source:
        T5's gin files `models/t5.1.1.*`; tables of embeddings are padded to 32128 and 250112 rows.
    """
    if Path(name).is_dir():
        config = AutoConfig.from_pretrained(name, trust_remote_code=False, local_files_only=True)
    else:
        width, hidden, heads, layers = _SHAPES[name.rpartition("-")[2]]
        shape: dict[str, Any] = {"d_model": width, "d_ff": hidden, "num_heads": heads, "d_kv": 64}
        shape |= {"num_layers": layers, "num_decoder_layers": layers, "tie_word_embeddings": False}
        shape["feed_forward_proj"] = "gated-gelu"
        config = (
            MT5Config(vocab_size=250112, **shape) if "mt5" in name else T5Config(vocab_size=32128, **shape)
        )
    with torch.device("meta"):
        return build_model(config)


def outline_of(model: PreTrainedModel) -> PreTrainedModel:
    """Builds a model of the same shapes without numbers; adapters, which are small, are left out.

    A model whose forward pass asks for numbers (experts, LED) is given back itself: what it costs is then
    counted in a real pass.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        return model
    base = plain_module(model)
    # Fake tensors tell the library that it is traced, and must not ask what a mask holds. T5 never asks.
    mode = nullcontext() if is_t5(base) else FakeTensorMode()
    try:
        with mode, torch.device("meta"), quiet_transformers():
            config = copy.deepcopy(base.config)
            outlined: PreTrainedModel = (
                build_model(config)
                if is_t5(base)
                else type(base)._from_config(config, attn_implementation="eager")
            )
        _forward(outlined, 2, 2)
        return outlined
    except Exception:  # whatever a strange architecture comes up with
        real: PreTrainedModel = base
        return real


def forward_flops(model: PreTrainedModel, input_length: int, target_length: int) -> float:
    """Counts the floating-point operations of one example's forward pass.

    Args:
        model: What `outline_of` gives.
        input_length: Tokens of its input.
        target_length: Tokens of its target.
    """
    with FlopCounterMode(display=False) as counter:
        _forward(model, input_length, target_length)
    return float(counter.get_total_flops())


def activation_bytes(
    model: PreTrainedModel, input_length: int, target_length: int, *, checkpointed: bool = False
) -> float:
    """Counts the bytes that one example's forward pass keeps for the backward pass, in fp32.

    Args:
        model: What `outline_of` gives.
        input_length: Tokens of its input.
        target_length: Tokens of its target.
        checkpointed: Whether only the inputs of layers are kept, and one layer at a time is computed again.
    """
    parameters = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    # The storage is held, so that no other gets its address; beside it the layer that keeps it, 0 for none.
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}
    inputs: list[int] = []  # bytes of each layer's
    now = 0

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            kept.setdefault(storage._cdata, (storage, now))
        return tensor

    def enter(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        nonlocal now
        inputs.append(arguments[0].untyped_storage().nbytes())
        now = len(inputs)

    def leave(*_: object) -> None:
        nonlocal now
        now = 0

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    handles = [
        handle
        for layer in layers
        for handle in (layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave))
    ]
    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            _forward(model, input_length, target_length)
    finally:
        for handle in handles:
            handle.remove()
    if not checkpointed or not inputs:
        return float(sum(storage.nbytes() for storage, _ in kept.values()))
    within = [0] * (1 + len(inputs))
    for storage, layer in kept.values():
        within[layer] += storage.nbytes()
    return float(within[0] + sum(inputs) + max(within[1:]))


def _forward(model: PreTrainedModel, input_length: int, target_length: int) -> Tensor:
    first = next(model.parameters())
    mode = first.fake_mode if isinstance(first, FakeTensor) else nullcontext()
    # Dropout of a real model must not move the random streams.
    with mode, torch.random.fork_rng(devices=[first.device] if first.device.type == "cuda" else []):
        inputs = torch.zeros(1, input_length, dtype=torch.long, device=first.device)
        arguments: dict[str, Any] = {"input_ids": inputs}
        if model.config.is_encoder_decoder:
            arguments["decoder_input_ids"] = inputs.new_zeros(1, max(1, target_length))
        if model.can_generate():
            arguments["use_cache"] = False
        model.train()
        scores = model(**arguments).logits.float()
        # As `token_loss`, which chooses the real tokens by their numbers; here there are none.
        scores = scores.reshape(-1, scores.shape[-1])
        targets = inputs.new_zeros(len(scores))
        loss: Tensor = cross_entropy(scores, targets) + torch.logsumexp(scores, -1).square().mean()
    return loss


def optimizer_bytes(model: nn.Module, settings: TrainSettings) -> int:
    """Counts the bytes that an optimizer keeps for a model.

    AdaFactor keeps a row and a column for each matrix, AdamW two tensors of the size of each weight.
    """
    if settings.optimizer == "adamw":
        return sum(8 * parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return sum(
        4 * (p.numel() // p.shape[-1] + p.numel() // p.shape[-2] if p.dim() >= 2 else p.numel())
        for p in model.parameters()
        if p.requires_grad
    )


def copied_bytes(model: nn.Module, sam: SAMConfig, processes: int = 1) -> int:
    """Counts the bytes of the weights that SAM keeps while they are perturbed.

    Of tables of embeddings these are the rows that the ascent's examples use, which are not counted; with
    several processes it is all of them.

    Args:
        model: The model.
        sam: How SAM is set.
        processes: How many train together.
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    tables: set[Tensor] = set()
    if sam.direction == "ascent" and processes == 1:
        tables = {part.weight for part in model.modules() if is_table(part)}
        tables -= {part.weight for part in model.modules() if isinstance(part, nn.Linear)}  # tied: all rows
    return sum(4 * weight.numel() for weight in weights if weight not in tables)


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


def matmul_speed(device: torch.device, bf16: bool) -> float:
    """Measures floating-point operations a second of bare matrix products."""
    size = 4096 if device.type == "cuda" else 768
    left, right = (
        torch.ones(size, size, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
        for _ in range(2)
    )
    return 2.0 * size**3 / _time(lambda: left @ right, device)


def training_speed(
    family: Family | PreTrainedModel,
    flops: float,
    shape: tuple[int, int],
    batch_size: int,
    device: torch.device,
    bf16: bool,
) -> tuple[float, bool]:
    """Measures floating-point operations a second of forward and backward passes of the model itself.

    Args:
        family: The model, whose gradients are cleared, while its weights and the random streams stay; an
            outline alone is not measured.
        flops: Those of an example's forward pass.
        shape: Tokens of its input and target.
        batch_size: Examples of a pass in training.
        device: Where it will train.
        bf16: Whether it will train under bf16 autocast.

    Returns:
        The speed, and whether it was measured on the model. A model that would take too long, or has
        no weights yet, is taken to reach `MATMUL_SHARE` of the speed of matrix products.
    """
    products = matmul_speed(device, bf16)
    flops *= 1 + BACKWARD
    if not isinstance(family, Family) or flops / (MATMUL_SHARE * products) > TRIAL_SECONDS:
        return MATMUL_SHARE * products, False
    examples = max(1, min(batch_size, int(TRIAL_SECONDS / 2 * MATMUL_SHARE * products / flops)))
    batch = family.dummy(examples, shape)
    model = family.loaded.model
    nn.Module.to(model, device)
    model.train()
    loss = family.loss(device, bf16=bf16, fast=resolve_operations("auto"), z_loss=1e-4)

    def one_pass() -> None:
        cast(Callable[[], None], loss(batch).backward)()
        model.zero_grad(set_to_none=True)

    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        seconds = _time(one_pass, device)
    return flops * examples / seconds, True


def _time(action: Callable[[], object], device: torch.device) -> float:
    """Times an action, the shorter one of two after a first that warms up: others only make it longer."""

    def once() -> float:
        started = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    once()
    return min(once(), once())
