"""Which precision a machine computes well."""

from __future__ import annotations

from typing import Literal

import torch

from lowland.train.settings import Operations, Precision


def resolve_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """Turns `auto` into bf16 autocast where the hardware has bf16 arithmetic, else into fp32.

    Args:
        precision: As in the settings.
        device: Where the model will run.

    Returns:
        `fp32` or `bf16`; weights are fp32 in both.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def resolve_operations(operations: Operations) -> bool:
    """Tells whether to compute with the fast operations, which `auto` does in every precision."""
    return operations != "library"


def cpu_has_bf16() -> bool:
    """Tells whether this CPU multiplies bf16 matrices in hardware (AVX512-BF16 or AMX)."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, check, lambda: False)()) for check in checks)
