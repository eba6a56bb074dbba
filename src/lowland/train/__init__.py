"""Training: one loop for both arms, its optimizers, schedules and seeds."""

from lowland.train.loop import StepReport, Training, TrainingError
from lowland.train.memory import keep_freed_memory
from lowland.train.precision import resolve_precision
from lowland.train.seeds import derive_seed, seed_dropout
from lowland.train.settings import ARMS, Arm, SAMSettings, TrainSettings
from lowland.train.state import DamagedStateError, read_values

__all__ = [
    "ARMS",
    "Arm",
    "DamagedStateError",
    "SAMSettings",
    "StepReport",
    "TrainSettings",
    "Training",
    "TrainingError",
    "derive_seed",
    "keep_freed_memory",
    "read_values",
    "resolve_precision",
    "seed_dropout",
]
