"""Sharpness-Aware Minimization for language models.

    sam = lowland.SAM(model, rho=0.15)
    info = sam(loss_fn, batch)  # instead of loss_fn(batch).backward()

The names below are the public ones. They are loaded when they are first used,
so that the command line starts without waiting for torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowland.comparison.api import compare
    from lowland.integrations import SAMTrainerMixin, sam_trainer
    from lowland.sam import SAM, GradientInfo, SAMConfig, SAMGradient, StandardGradient, perturbed

__version__ = version("lowland")
__all__ = [
    "SAM",
    "GradientInfo",
    "SAMConfig",
    "SAMGradient",
    "SAMTrainerMixin",
    "StandardGradient",
    "compare",
    "perturbed",
    "sam_trainer",
]
_HOMES = {
    "SAMTrainerMixin": "lowland.integrations",
    "compare": "lowland.comparison.api",
    "sam_trainer": "lowland.integrations",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "lowland.sam")), name)
    if name in {"sam", "tasks", "metrics", "integrations"}:
        return import_module(f"lowland.{name}")
    raise AttributeError(f"module 'lowland' has no attribute {name!r}")
