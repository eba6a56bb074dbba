"""Sharpness-Aware Minimization as a gradient."""

from lowland.sam.batch import target_count
from lowland.sam.gradient import SAM, GradientInfo, LossFunction, SAMGradient, StandardGradient
from lowland.sam.perturb import Perturbation, perturbed

__all__ = [
    "SAM",
    "GradientInfo",
    "LossFunction",
    "Perturbation",
    "SAMGradient",
    "StandardGradient",
    "perturbed",
    "target_count",
]
