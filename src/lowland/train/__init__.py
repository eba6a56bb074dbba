"""Training: one loop for all arms, its optimizers, schedules and seeds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowland.train.log import StepReport as StepReport
    from lowland.train.loop import Training as Training
    from lowland.train.loop import TrainingError as TrainingError
    from lowland.train.machine import be_deterministic as be_deterministic
    from lowland.train.machine import keep_freed_memory as keep_freed_memory
    from lowland.train.machine import resolve_precision as resolve_precision
    from lowland.train.seeds import derive_seed as derive_seed
    from lowland.train.seeds import seed_dropout as seed_dropout
    from lowland.train.settings import TrainSettings as TrainSettings
    from lowland.train.state import DamagedStateError as DamagedStateError
    from lowland.train.state import read_values as read_values

_HOMES = {
    "log": ("StepReport",),
    "loop": ("Training", "TrainingError"),
    "machine": ("be_deterministic", "keep_freed_memory", "resolve_precision"),
    "seeds": ("derive_seed", "seed_dropout"),
    "settings": ("TrainSettings",),
    "state": ("DamagedStateError", "read_values"),
}


def __getattr__(name: str) -> Any:
    # Settings and seeds are read without torch, which the command line loads only when it trains.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"lowland.train.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
