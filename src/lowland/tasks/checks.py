"""Sentences about data that a user should read before trusting a score: repeats, overlaps, unseen classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lowland.metrics import Limit
from lowland.tasks.base import Example


def repeated(name: str, train: Sequence[Example]) -> list[str]:
    """Reports training examples that occur again, and inputs that occur with more than one target."""
    warnings = []
    again = len(train) - len({(example.inputs, example.targets) for example in train})
    if again:
        warnings.append(f"{name}: {again} of {len(train)} training examples repeat an earlier one.")
    targets: dict[str, set[str]] = {}
    for example in train:
        targets.setdefault(example.inputs, set()).add(example.targets)
    torn = sum(len(group) > 1 for group in targets.values())
    if torn:
        warnings.append(f"{name}: {torn} training inputs occur with more than one target.")
    return warnings


def shared(name: str, train: Sequence[Example], evaluation: Sequence[Example]) -> list[str]:
    """Reports evaluation inputs that were trained on."""
    seen = {example.inputs for example in train}
    count = sum(example.inputs in seen for example in evaluation)
    if not count:
        return []
    return [
        f"{name}: {count} of {len(evaluation)} evaluation inputs occur in training too,"
        " which makes the model look better than it is."
    ]


def limits(what: str, found: Sequence[Limit]) -> list[str]:
    """Reports what the scores of a set of examples cannot tell.

    Args:
        what: What the set is called.
        found: Why.
    """
    return [f"{what}: {limit.text}." for limit in found]


def unseen(name: str, train: Sequence[Example], evaluation: Sequence[Example]) -> list[str]:
    """Reports classes of the evaluation that training never shows."""
    known = {example.targets for example in train}
    strange = Counter(example.targets for example in evaluation if example.targets not in known)
    if not strange:
        return []
    shown = ", ".join(f"{target!r} ({count})" for target, count in strange.most_common(5))
    others = " and others" if len(strange) > 5 else ""
    return [
        f"{name}: {strange.total()} of {len(evaluation)} evaluation targets never occur in training:"
        f" {shown}{others}."
    ]


def blank(name: str, examples: Sequence[Example]) -> list[str]:
    """Reports inputs that hold nothing."""
    count = sum(not example.inputs.strip() for example in examples)
    return [f"{name}: {count} of {len(examples)} inputs are empty."] if count else []


def one_class(name: str, train: Sequence[Example]) -> list[str]:
    """Reports a training set whose targets are all the same."""
    targets = {example.targets for example in train}
    if len(train) < 2 or len(targets) > 1:
        return []
    return [
        f"{name}: all {len(train)} training examples have the target {targets.pop()!r},"
        " so that a model can only learn to write that."
    ]
