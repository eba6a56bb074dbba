"""What the machine does: precision that it computes well, the same bits every time, freed memory kept."""

from __future__ import annotations

import ctypes
import os
from typing import Literal

import torch

from lowland.train.settings import Precision

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def resolve_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """Turns `auto` into bf16 autocast where the hardware has bf16 arithmetic, else into fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def cpu_has_bf16() -> bool:
    """Tells whether this CPU multiplies bf16 matrices in hardware (AVX512-BF16 or AMX)."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, check, lambda: False)()) for check in checks)


def be_deterministic() -> None:
    """Makes torch refuse operations whose result depends on the order in which threads finish.

    To be called before anything is computed on a GPU: cuBLAS reads its setting only once.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> bool:
    """Makes the C library keep freed memory instead of handing it back; returns whether it does.

    A training step makes and frees the same large tensors again and again, which otherwise are fresh memory
    that the system clears page by page. For programs, not for libraries: it concerns the process.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    largest = 2**31 - 1
    settings = ((M_MMAP_THRESHOLD, largest), (M_TRIM_THRESHOLD, largest), (M_TOP_PAD, 2**26))
    return all(mallopt(name, value) == 1 for name, value in settings)
