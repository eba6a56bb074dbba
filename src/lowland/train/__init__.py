"""Training: one loop for both arms, its optimizers, schedules and seeds."""

from lowland.train.loop import StepReport, TrainingError, train
from lowland.train.precision import resolve_precision
from lowland.train.seeds import derive_seed, seed_dropout
from lowland.train.settings import ARMS, Arm, SAMSettings, TrainSettings

__all__ = [
    "ARMS",
    "Arm",
    "SAMSettings",
    "StepReport",
    "TrainSettings",
    "TrainingError",
    "derive_seed",
    "resolve_precision",
    "seed_dropout",
    "train",
]
