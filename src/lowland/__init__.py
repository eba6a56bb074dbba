"""Sharpness-Aware Minimization for language models.

    sam = lowland.SAM(model, rho=0.15, ascent=0.25)
    info = sam(loss_fn, batch)  # instead of loss_fn(batch).backward()

The names below are the public ones. They are loaded when they are first used,
so that the command line starts without waiting for torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowland.sam import SAM, GradientInfo, SAMGradient, StandardGradient, perturbed

__version__ = version("lowland")
__all__ = ["SAM", "GradientInfo", "SAMGradient", "StandardGradient", "perturbed"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("lowland.sam"), name)
    if name in {"sam", "tasks", "metrics", "integrations"}:
        return import_module(f"lowland.{name}")
    raise AttributeError(f"module 'lowland' has no attribute {name!r}")
