"""What the targets of a task can be: classes, a positive class, a range of numbers.

These belong to a task, not to the rows that happen to be scored. A part of a task (held-out rows, the first
rows of a set) may lack a class. Limits say what its scores then cannot tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowland.metrics.regression import finite_number

FEW = 5
"""With fewer examples of the positive class, one of them moves F1 by tens of points."""

FEW_NUMBERS = 10
"""With fewer pairs, a correlation is mostly chance: that of two is always 100 or -100."""

MOST_NAMED = 5
"""Missing classes that a message names."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What the targets of a task can be.

    Attributes:
        classes: The different targets, sorted.
        positive: The positive class of F1: the one that is named, else the one that sorts last.
        named: Whether the user named it.
        outside: The number for a prediction that is not a number: below the targets' range by a fifth of it,
            as the T5 library's -1 for the numbers from 0 to 5 of STS-B.
    """

    classes: tuple[str, ...]
    positive: str
    named: bool = False
    outside: float = -1.0

    @classmethod
    def of(cls, targets: Sequence[str], positive: str | None = None) -> Domain:
        """Finds out what all targets of a task are; the user may name the positive class."""
        classes = tuple(sorted(set(targets)))
        numbers = [number for text in classes if (number := finite_number(text)) is not None] or [0.0]
        return cls(
            classes=classes,
            positive=positive if positive is not None else (classes[-1] if classes else ""),
            named=positive is not None,
            outside=min(numbers) - ((max(numbers) - min(numbers)) / 5 or 1.0),
        )


@dataclass(frozen=True)
class Limit:
    """Why a score of some rows says less than it seems to.

    Attributes:
        text: The reason: a clause that a sentence can end with.
        undefined: Whether the score is `nan` whatever a model writes.
    """

    text: str
    undefined: bool = False


def one_class(targets: Sequence[str], task: Domain) -> Limit | None:
    """Looks for a set of one class, which needs no knowledge to score 100."""
    if len(targets) < 2 or len(set(targets)) > 1:
        return None
    return Limit(f"all its {len(targets)} targets are {targets[0]!r}: a constant answer scores 100")


def positives(targets: Sequence[str], task: Domain) -> Limit | None:
    """Looks for too few examples of the positive class of F1."""
    count = sum(target == task.positive for target in targets)
    of = f"of its {len(targets)} targets"
    if not count:
        return Limit(f"none {of} is {task.positive!r}, so that f1 is not defined there", True)
    if count < min(FEW, len(targets)):
        found = f"only {count} {of} {'is' if count == 1 else 'are'} {task.positive!r}, the class of f1"
        return Limit(f"{found}: one of them moves it by tens of points")
    return one_class(targets, task)


def all_classes(targets: Sequence[str], task: Domain) -> Limit | None:
    """Looks for classes that are missing in a macro average."""
    missing = sorted(set(task.classes) - set(targets))
    if not missing:
        return None
    shown = ", ".join(map(repr, missing[:MOST_NAMED])) + (", ..." if len(missing) > MOST_NAMED else "")
    return Limit(
        f"it lacks examples of {len(missing)} of {len(task.classes)} classes ({shown}): macro F1 leaves them "
        "out, or counts them as 0 where a model writes them"
    )


def listed(classes: Sequence[str]) -> str:
    """Lists classes for a message."""
    more = f" and {len(classes) - MOST_NAMED} more" if len(classes) > MOST_NAMED else ""
    return f"the targets are {', '.join(map(repr, classes[:MOST_NAMED]))}{more}"


def several_classes(targets: Sequence[str], task: Domain) -> Limit | None:
    """Looks for a set of one class, for which the correlation is not defined."""
    if len(set(targets)) > 1:
        return None
    return Limit("all its targets are the same, so that matthews_corrcoef is not defined there", True)


def several_numbers(targets: Sequence[str], task: Domain) -> Limit | None:
    """Looks for a set too small or too uniform for a correlation."""
    if len({finite_number(target) for target in targets}) < 2:
        return Limit("all its targets are the same, so that a correlation is not defined there", True)
    few = len(targets) < FEW_NUMBERS
    return Limit(f"a correlation of {len(targets)} numbers is mostly chance") if few else None
