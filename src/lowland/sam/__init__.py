"""Sharpness-Aware Minimization as a gradient."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowland.sam.config import SAMConfig
    from lowland.sam.gradient import SAM, SAMGradient
    from lowland.sam.info import GradientInfo
    from lowland.sam.perturb import Perturbation, perturbed
    from lowland.sam.plateau import PlateauWatch
    from lowland.sam.standard import LossFunction, StandardGradient

__all__ = [
    "SAM",
    "GradientInfo",
    "LossFunction",
    "Perturbation",
    "PlateauWatch",
    "SAMConfig",
    "SAMGradient",
    "StandardGradient",
    "perturbed",
]
_HOMES = {
    "GradientInfo": "info",
    "PlateauWatch": "plateau",
    "SAM": "gradient",
    "SAMConfig": "config",
    "SAMGradient": "gradient",
    "Perturbation": "perturb",
    "perturbed": "perturb",
}


def __getattr__(name: str) -> Any:
    # Settings are read without torch, which the command line loads only when it trains.
    if name in __all__:
        return getattr(import_module(f"lowland.sam.{_HOMES.get(name, 'standard')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
