"""Training: one loop for both arms, its optimizers, schedules and seeds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowland.train.determinism import be_deterministic
    from lowland.train.failure import Failure, load_failure, restore_streams
    from lowland.train.loop import StepReport, Training, TrainingError
    from lowland.train.memory import keep_freed_memory
    from lowland.train.precision import resolve_precision
    from lowland.train.seeds import derive_seed, seed_dropout
    from lowland.train.settings import TrainSettings
    from lowland.train.state import DamagedStateError, read_values
    from lowland.train.watch import Watch

_HOMES = {
    "DamagedStateError": "state",
    "Failure": "failure",
    "StepReport": "loop",
    "TrainSettings": "settings",
    "Training": "loop",
    "TrainingError": "loop",
    "Watch": "watch",
    "be_deterministic": "determinism",
    "derive_seed": "seeds",
    "keep_freed_memory": "memory",
    "load_failure": "failure",
    "read_values": "state",
    "resolve_precision": "precision",
    "restore_streams": "failure",
    "seed_dropout": "seeds",
}
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


def __getattr__(name: str) -> Any:
    # Settings and seeds are read without torch, which the command line loads only when it trains.
    if name in _HOMES:
        return getattr(import_module(f"lowland.train.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
