"""Sharpness-Aware Minimization as a gradient."""

from lowland.sam.batch import target_count
from lowland.sam.gradient import SAM, SAMGradient
from lowland.sam.look import LookSAMGradient
from lowland.sam.past import PastSAMGradient
from lowland.sam.perturb import Perturbation, perturbed
from lowland.sam.standard import GradientInfo, LossFunction, StandardGradient

__all__ = [
    "SAM",
    "GradientInfo",
    "LookSAMGradient",
    "LossFunction",
    "PastSAMGradient",
    "Perturbation",
    "SAMGradient",
    "StandardGradient",
    "perturbed",
    "target_count",
]
