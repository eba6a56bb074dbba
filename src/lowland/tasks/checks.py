"""Sentences about data that a user should read before trusting a score: repeats, overlaps, unseen classes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from lowland.metrics import Limit
from lowland.tasks.base import Example

MOST_CLASSES = 200
"""More different targets than this are no classes that anyone spelt."""

RARE = 0.05
"""A class this much rarer than the most frequent one may be a slip of the pen."""

LEAST_LETTERS = 4
"""Shorter words that are a letter apart are mostly different words."""


def own_data(
    name: str, train: Sequence[Example], evaluation: Sequence[Example], classes: bool
) -> Iterator[str]:
    """Reports what is odd about a user's rows: empty, repeated or overlapping ones, and strange classes."""
    examples = [*train, *evaluation]
    if blank := sum(not example.inputs.strip() for example in examples):
        yield f"{name}: {blank} of {len(examples)} inputs are empty."
    known = {example.targets for example in train}
    if len(train) > 1 and len(known) == 1:
        what = f"all {len(train)} training examples have the target {train[0].targets!r}"
        yield f"{name}: {what}, so that a model can only learn to write that."
    if again := len(train) - len(pairs := {(example.inputs, example.targets) for example in train}):
        yield f"{name}: {again} of {len(train)} training examples repeat an earlier one."
    if torn := sum(number > 1 for number in Counter(inputs for inputs, _ in pairs).values()):
        yield f"{name}: {torn} training inputs occur with more than one target."
    yield from shared(name, train, evaluation)
    if classes:
        yield from _alike(name, [example.targets for example in examples])
        yield from unseen(name, known, evaluation) if train else ()


def unseen(
    name: str, known: Collection[str], evaluation: Sequence[Example], why: str = "never occur in training"
) -> list[str]:
    """Reports classes of the evaluation that are not known, since training never shows them."""
    strange = Counter(example.targets for example in evaluation if example.targets not in known)
    shown = ", ".join(f"{target!r} ({count})" for target, count in strange.most_common(5))
    others = " and others" if len(strange) > 5 else ""
    what = f"{strange.total()} of {len(evaluation)} evaluation targets {why}"
    return [f"{name}: {what}: {shown}{others}."] if strange else []


def shared(name: str, train: Sequence[Example], evaluation: Sequence[Example]) -> list[str]:
    """Reports evaluation inputs that were trained on."""
    seen = {example.inputs for example in train}
    count = sum(example.inputs in seen for example in evaluation)
    what = f"{count} of {len(evaluation)} evaluation inputs occur in training too"
    return [f"{name}: {what}, which makes the model look better than it is."] if count else []


def limits(what: str, found: Sequence[Limit]) -> list[str]:
    """Reports what the scores of a set of examples cannot tell."""
    return [f"{what}: {limit.text}." for limit in found]


def _alike(name: str, targets: Sequence[str]) -> Iterator[str]:
    """Reports classes that look like spellings of another: by case and blanks, or rare and a letter apart."""
    counts = Counter(targets)
    if len(counts) > MOST_CLASSES:
        return
    found: list[str] = []
    for label, number in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        others = [other for other in counts if (counts[other], other) > (number, label)]
        same = [other for other in others if _plain(other) == _plain(label)]
        if not same and number <= RARE * max(counts.values()):
            same = [other for other in others if counts[other] > number and _misspelt(label, other)]
        if same:
            other = max(same, key=lambda other: counts[other])
            composed = {unicodedata.normalize("NFC", word) for word in (label, other)}
            show = repr if len(composed) > 1 else ascii  # what looks the same is written out
            found.append(f"{show(label)} ({number}) and {show(other)} ({counts[other]})")
    if found:
        more = " and others" if len(found) > 5 else ""
        yield (
            f"{name}: classes that look like one class in different spellings: {', '.join(found[:5])}{more}. "
            "If they are, correct the file: each spelling is learned and scored as a class of its own."
        )


def _plain(label: str) -> str:
    """Writes a label without differences of case, width and blanks."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def _misspelt(label: str, other: str) -> bool:
    """Whether a label is another with a letter missing, added, changed or moved."""
    one, two = _plain(label), _plain(other)
    if min(len(one), len(two)) < LEAST_LETTERS or re.sub(r"\d", "", one) == re.sub(r"\d", "", two):
        return False  # short words and numbers are different on purpose
    return not _a_letter_less(one).isdisjoint(_a_letter_less(two))


def _a_letter_less(word: str) -> set[str]:
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}
