"""Training: one loop for both arms, its optimizers, schedules and seeds."""

from lowland.train.determinism import be_deterministic
from lowland.train.failure import Failure, load_failure, restore_streams
from lowland.train.loop import StepReport, Training, TrainingError
from lowland.train.memory import keep_freed_memory
from lowland.train.precision import resolve_precision
from lowland.train.seeds import derive_seed, seed_dropout
from lowland.train.settings import TrainSettings
from lowland.train.state import DamagedStateError, read_values
from lowland.train.watch import Watch

__all__ = [
    "DamagedStateError",
    "Failure",
    "StepReport",
    "TrainSettings",
    "Training",
    "TrainingError",
    "Watch",
    "be_deterministic",
    "derive_seed",
    "keep_freed_memory",
    "load_failure",
    "read_values",
    "resolve_precision",
    "restore_streams",
    "seed_dropout",
]
