"""Which examples a checkpoint is chosen by, and where they are too few to choose by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowland.config.data import DataSettings
from lowland.errors import UserError
from lowland.tasks import checks
from lowland.tasks.base import Example, Task
from lowland.tasks.subsample import hold_out
from lowland.train import derive_seed

LEAST = 100
"""A score of fewer held-out examples has a standard error of up to 5 points and more. Checkpoints differ by
less, so that the one that scores best is the luckiest."""

HELD_OUT_SEED = 0
"""Of the examples that are held out: the same for every seed of an experiment."""

Parts = Mapping[str, Sequence[Example]]
"""Task name -> examples."""


def choose_by(
    everything: Parts, tasks: Mapping[str, Task], settings: DataSettings
) -> tuple[Parts, Parts, list[str]]:
    """Holds examples out to choose checkpoints by, if they are enough and of the kinds that scores need.

    They are the same for every seed, so that runs of different seeds can be compared on them. A fraction that
    makes few is not held out; a number that the user gives is. Where a score of the held-out examples would
    not be defined, none are held out, so that the last step counts.

    Args:
        everything: All training examples, of which the settings use a fraction.
        tasks: Task name -> task.
        settings: How many are held out.

    Returns:
        The examples that are left to train on, the held-out ones, and what the user should know.

    Raises:
        UserError: If a task has too few examples to hold any out.
    """
    asked = settings.held_out
    if not (asked and settings.held_out_limit):
        return everything, {}, []
    used = {name: used_of(examples, settings.fraction) for name, examples in everything.items()}
    numbers = {
        name: asked if isinstance(asked, int) else max(1, round(asked * number))
        for name, number in used.items()
    }
    total = sum(numbers.values())
    if isinstance(asked, float) and total < LEAST:
        few = (
            f"{asked:.0%} of the training examples are only {total}, too few to choose a checkpoint by. "
            "None is held out, and the last step is reported. To hold them out anyway, give "
            f"--held-out {max(numbers.values())}."
        )
        return everything, {}, [few]
    train: dict[str, Sequence[Example]] = {}
    held_out: dict[str, Sequence[Example]] = {}
    warnings: list[str] = []
    for name, examples in everything.items():
        number = min(numbers[name], settings.held_out_limit)
        try:
            if number >= used[name]:
                raise UserError(f"{number} cannot be held out of {used[name]} training examples.")
            train[name], held_out[name] = hold_out(examples, number, derive_seed(HELD_OUT_SEED, "held-out"))
        except UserError as error:
            raise UserError(f"{name}: {error} Give --held-out 0 to train on all of them.") from None
        found = tasks[name].limits(held_out[name])
        warnings += checks.limits(f"{name}, held out", found)
        if any(limit.undefined for limit in found):
            warnings.append(f"{name}: no checkpoint can be chosen by such a set: the last step counts.")
            return everything, {}, warnings
    return train, held_out, warnings


def used_of(examples: Sequence[Example], fraction: float) -> int:
    """Gives how many of a task's training examples are used."""
    return max(1, round(fraction * len(examples)))
