"""The metrics that a user chooses by name for their own data, and what they are computed from.

What targets can be (classes, a positive class, a range of numbers) belongs to a task, not to the rows that
happen to be scored: held-out rows may lack a class. A `Limit` says what their scores then cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lowland.errors import UserError, unknown_name
from lowland.metrics import texts, values


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What the targets of a task can be."""

    classes: tuple[str, ...]  # the different targets, sorted
    positive: str  # the class of F1: the one that the user named, else the one that sorts last
    named: bool = False
    # For a prediction that is no number: below the range by a fifth of it, as T5's -1 for STS-B's 0 to 5.
    outside: float = -1.0

    @classmethod
    def of(cls, targets: Sequence[str], positive: str | None = None) -> Domain:
        """Finds out what all targets of a task are; the user may name the positive class."""
        classes = tuple(sorted(set(targets)))
        found = [number for text in classes if (number := values.finite_number(text)) is not None] or [0.0]
        return cls(
            classes=classes,
            positive=positive if positive is not None else "".join(classes[-1:]),
            named=positive is not None,
            outside=min(found) - ((max(found) - min(found)) / 5 or 1.0),
        )


class Limit(NamedTuple):
    """Why a score says less than it seems to (a clause), and whether it is `nan` whatever a model writes."""

    text: str
    undefined: bool = False


def find_limit(key: str, targets: Sequence[str], domain: Domain) -> Limit | None:
    """Says what the number of this name cannot tell of examples with such targets."""
    numbers = key in ("pearson_corrcoef", "spearman_corrcoef")
    different: set[Any] = {*map(values.parse_number, targets)} if numbers else {*targets}
    if key.endswith("_corrcoef") and len(different) < 2:
        return Limit(f"all its targets are the same, so that {key} is not defined there", True)
    if key == "f1" and domain.positive not in different:
        none = f"none of its {len(targets)} targets is {domain.positive!r}"
        return Limit(f"{none}, so that f1 is not defined there", True)
    if key in ("accuracy", "f1") and len(targets) > 1 and len(different) == 1:
        return Limit(f"all its {len(targets)} targets are {targets[0]!r}: a constant answer scores 100")
    missing = sorted({*domain.classes} - different)
    if key in ("macro_f1", "mean_3class_f1") and missing:
        lacks = f"it lacks examples of {len(missing)} of {len(domain.classes)} classes ({listed(missing)})"
        left_out = "leaves them out, or counts them as 0 where a model writes them"
        return Limit(f"{lacks}: macro F1 {left_out if key == 'macro_f1' else 'counts them as 0'}")
    return None


def listed(classes: Sequence[str]) -> str:
    """Lists classes for a message, the first five."""
    return ", ".join(map(repr, classes[:5])) + ", ..." * (len(classes) > 5)


class Scored(NamedTuple):
    """What a metric is computed from."""

    targets: Sequence[str]
    predictions: Sequence[str]
    answers: Sequence[Sequence[str]]
    domain: Domain

    def classes(self) -> tuple[list[int], list[int]]:
        """Numbers the classes of targets and predictions; what is no class of the task is -1."""
        ids = {label: number for number, label in enumerate(self.domain.classes)}
        return [ids.get(word, -1) for word in self.targets], [ids.get(word, -1) for word in self.predictions]

    def correlation(self, function: Callable[[Sequence[float], Sequence[float]], float]) -> float:
        """Correlates numbers; what is no number counts as less than all numbers.

        The same prediction for all rows correlates with nothing, and is 0: a bad run has a score.
        """
        sides = [map(values.finite_number, side) for side in (self.targets, self.predictions)]
        right, written = ([self.domain.outside if n is None else n for n in side] for side in sides)
        constant = len(set(written)) == 1 and len(set(right)) > 1
        return 0.0 if constant else function(right, written)


@dataclass(frozen=True)
class Metric:
    """A metric of raw texts."""

    name: str
    kind: str  # what the targets must be: class, text, or number
    compute: Callable[[Scored], float | dict[str, float]]  # in percent
    numbers: tuple[str, ...] = ()  # the names of its numbers, where they differ from its own

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its numbers."""
        return self.numbers or (self.name,)

    def limit(self, targets: Sequence[str], domain: Domain) -> Limit | None:
        """Says what a set with such targets cannot tell; `None` where it is good for the metric."""
        return None if self.kind == "text" else find_limit(self.keys[0], targets, domain)

    def score(
        self,
        targets: Sequence[str],
        predictions: Sequence[str],
        answers: Sequence[Sequence[str]],
        domain: Domain,
    ) -> dict[str, float]:
        """Maps targets, predictions, all right answers of each example and what targets can be to numbers."""
        limit = self.limit(targets, domain)
        if limit is not None and limit.undefined:
            return dict.fromkeys(self.keys, math.nan)
        found = self.compute(Scored(targets, predictions, answers, domain))
        return {key: found[key] for key in self.keys} if isinstance(found, dict) else {self.keys[0]: found}

    def check(self, targets: Sequence[str], domain: Domain) -> None:
        """Refuses targets that the metric cannot be of: not numbers, or not of two classes."""
        if self.name == "f1" and len(domain.classes) > 2 and not domain.named:
            raise UserError(
                f"The metric 'f1' needs two classes, but the targets have {len(domain.classes)};"
                " take 'macro_f1', or name one class with --positive, as in --positive spam."
            )
        if self.kind == "number":
            strange = next((text for text in targets if values.finite_number(text) is None), None)
            if strange is not None:
                raise UserError(f"The metric {self.name!r} needs numbers, but a target is {strange!r}.")


def by_name(name: str) -> Metric:
    """Looks up a metric of `metric_names()`."""
    if name not in _METRICS:
        raise unknown_name("metric", name, _METRICS)
    return _METRICS[name]


def metric_names() -> tuple[str, ...]:
    """Names of all metrics, in the order in which they are listed."""
    return tuple(_METRICS)


def _f1(scored: Scored) -> float:
    # An invalid prediction is no class of the task: it stays -1 and counts against its target.
    label, valid = scored.domain.positive, {*scored.domain.classes, scored.domain.positive}
    numbers = [int(text == label) if text in valid else -1 for text in scored.predictions]
    return values.binary_f1([int(target == label) for target in scored.targets], numbers)


def _macro_f1(scored: Scored) -> float:
    right, written = scored.classes()
    # As scikit-learn's average: a class that occurs on neither side has no F1.
    return values.macro_f1(right, written, sorted({*right, *written} - {-1}))


_ALL = (
    Metric("accuracy", "class", lambda s: values.accuracy(s.targets, s.predictions)),
    Metric("f1", "class", _f1),
    Metric("macro_f1", "class", _macro_f1),
    Metric("matthews", "class", lambda s: values.matthews(*s.classes()), ("matthews_corrcoef",)),
    Metric("exact_match", "text", lambda s: texts.exact_match(s.answers, s.predictions)),
    Metric("qa", "text", lambda s: texts.squad(s.answers, s.predictions), ("em", "f1")),
    Metric("qa_f1", "text", lambda s: texts.squad(s.answers, s.predictions), ("f1",)),
    Metric("trivia_qa", "text", lambda s: texts.trivia_qa(s.answers, s.predictions), ("em", "f1")),
    Metric("rouge", "text", lambda s: texts.rouge(s.answers, s.predictions), texts.ROUGE_KEYS),
    Metric("bleu", "text", lambda s: texts.corpus("bleu", s.answers, s.predictions)),
    Metric("chrf", "text", lambda s: texts.corpus("chrf", s.answers, s.predictions)),
    Metric("pearson", "number", lambda s: s.correlation(values.pearson), ("pearson_corrcoef",)),
    Metric("spearman", "number", lambda s: s.correlation(values.spearman), ("spearman_corrcoef",)),
)
_METRICS = {metric.name: metric for metric in _ALL}
