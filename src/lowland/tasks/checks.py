"""Sentences about data that a user should read before trusting a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from lowland.metrics import Limit
from lowland.tasks.base import Example


def torn(name: str, train: Sequence[Example]) -> list[str]:
    """Reports training inputs with several targets, of which a model can write only one."""
    pairs = {(example.inputs, example.targets) for example in train}
    count = sum(number > 1 for number in Counter(inputs for inputs, _ in pairs).values())
    return [f"{name}: {count} training inputs occur with more than one target."] if count else []


def shared(name: str, train: Sequence[Example], evaluation: Sequence[Example]) -> list[str]:
    """Reports evaluation inputs that were trained on."""
    seen = {example.inputs for example in train}
    count = sum(example.inputs in seen for example in evaluation)
    what = f"{count} of {len(evaluation)} evaluation inputs occur in training too"
    return [f"{name}: {what}, which makes the model look better than it is."] if count else []


def unseen(
    name: str, known: Collection[str], evaluation: Sequence[Example], why: str = "never occur in training"
) -> list[str]:
    """Reports classes of the evaluation that are not known, since training never shows them."""
    strange = Counter(example.targets for example in evaluation if example.targets not in known)
    shown = ", ".join(f"{target!r} ({count})" for target, count in strange.most_common(5))
    others = " and others" if len(strange) > 5 else ""
    what = f"{strange.total()} of {len(evaluation)} evaluation targets {why}"
    return [f"{name}: {what}: {shown}{others}."] if strange else []


def limits(what: str, found: Sequence[Limit]) -> list[str]:
    """Reports what the scores of a set of examples cannot tell."""
    return [f"{what}: {limit.text}." for limit in found]
