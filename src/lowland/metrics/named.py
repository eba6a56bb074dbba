"""The metrics that a user chooses by name for their own data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lowland.errors import UserError, unknown_name
from lowland.metrics import classification, domain, qa, regression, text
from lowland.metrics.domain import Domain, Limit


class Scored(NamedTuple):
    """What a metric is computed from."""

    targets: Sequence[str]
    predictions: Sequence[str]
    answers: Sequence[Sequence[str]]
    task: Domain

    def classes(self) -> tuple[list[int], list[int]]:
        """Numbers the classes of targets and predictions; what is no class of the task is -1."""
        ids = {label: number for number, label in enumerate(self.task.classes)}
        return [ids.get(word, -1) for word in self.targets], [ids.get(word, -1) for word in self.predictions]

    def numbers(self) -> tuple[list[float], list[float]]:
        """Reads targets and predictions; what is no number counts as less than all numbers."""
        sides = [map(regression.finite_number, side) for side in (self.targets, self.predictions)]
        right, written = ([self.task.outside if n is None else n for n in side] for side in sides)
        return right, written


@dataclass(frozen=True)
class Metric:
    """A metric of raw texts.

    Attributes:
        name: The name by which it is chosen.
        kind: What the targets must be: `class`, `text`, or `number`.
        compute: Gives its numbers, in percent.
        limit: Says what a set with such targets cannot tell; `None` where it is good for the metric.
        numbers: The names of its numbers, where they differ from its own.
    """

    name: str
    kind: str
    compute: Callable[[Scored], float | dict[str, float]]
    limit: Callable[[Sequence[str], Domain], Limit | None] = lambda targets, task: None
    numbers: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its numbers."""
        return self.numbers or (self.name,)

    def score(
        self,
        targets: Sequence[str],
        predictions: Sequence[str],
        answers: Sequence[Sequence[str]],
        task: Domain,
    ) -> dict[str, float]:
        """Maps targets, predictions, all right answers of each example and what targets can be to numbers."""
        limit = self.limit(targets, task)
        if limit is not None and limit.undefined:
            return dict.fromkeys(self.keys, math.nan)
        found = self.compute(Scored(targets, predictions, answers, task))
        return {key: found[key] for key in self.keys} if isinstance(found, dict) else {self.keys[0]: found}

    def check(self, targets: Sequence[str], task: Domain) -> None:
        """Refuses targets that the metric cannot be of.

        Raises:
            UserError: If they are not numbers, or not of two classes.
        """
        if self.name == "f1" and len(task.classes) > 2 and not task.named:
            raise UserError(
                f"The metric 'f1' needs two classes, but the targets have {len(task.classes)};"
                " take 'macro_f1', or name one class with --positive, as in --positive spam."
            )
        if self.kind == "number":
            strange = next((text for text in targets if regression.finite_number(text) is None), None)
            if strange is not None:
                raise UserError(f"The metric {self.name!r} needs numbers, but a target is {strange!r}.")


def by_name(name: str) -> Metric:
    """Looks up a metric of `metric_names()`.

    Raises:
        UserError: If the name is unknown; the message names the nearest ones.
    """
    if name.startswith("f1:"):
        raise UserError(f"Unknown metric {name!r}; give --metric f1, and its class with --positive.")
    if name not in _METRICS:
        raise unknown_name("metric", name, _METRICS)
    return _METRICS[name]


def metric_names() -> tuple[str, ...]:
    """Names of all metrics, in the order in which they are listed."""
    return tuple(_METRICS)


def _f1(scored: Scored) -> float:
    # An invalid prediction is no class of the task: it stays -1 and counts against its target.
    label, valid = scored.task.positive, {*scored.task.classes, scored.task.positive}
    numbers = [int(text == label) if text in valid else -1 for text in scored.predictions]
    return classification.binary_f1([int(target == label) for target in scored.targets], numbers)


def _macro_f1(scored: Scored) -> float:
    right, written = scored.classes()
    # As scikit-learn's average: a class that occurs on neither side has no F1.
    return classification.macro_f1(right, written, sorted({*right, *written} - {-1}))


def _exact_match(scored: Scored) -> float:
    return qa.max_over_answers(lambda right, text: float(right == text), scored.answers, scored.predictions)


_ALL = (
    Metric(
        "accuracy", "class", lambda s: classification.accuracy(s.targets, s.predictions), domain.one_class
    ),
    Metric("f1", "class", _f1, domain.positives),
    Metric("macro_f1", "class", _macro_f1, domain.all_classes),
    Metric(
        "matthews",
        "class",
        lambda scored: classification.matthews(*scored.classes()),
        domain.several_classes,
        ("matthews_corrcoef",),
    ),
    Metric("exact_match", "text", _exact_match),
    Metric("qa", "text", lambda s: qa.squad(s.answers, s.predictions), numbers=("em", "f1")),
    Metric("qa_f1", "text", lambda s: qa.squad(s.answers, s.predictions), numbers=("f1",)),
    Metric("trivia_qa", "text", lambda s: qa.trivia_qa(s.answers, s.predictions), numbers=("em", "f1")),
    Metric("rouge", "text", lambda s: text.rouge(s.answers, s.predictions), numbers=text.ROUGE_KEYS),
    Metric("bleu", "text", lambda s: text.corpus("bleu", s.answers, s.predictions)),
    Metric("chrf", "text", lambda s: text.corpus("chrf", s.answers, s.predictions)),
    Metric(
        "pearson",
        "number",
        lambda scored: regression.of_predictions(regression.pearson, *scored.numbers()),
        domain.several_numbers,
        ("pearson_corrcoef",),
    ),
    Metric(
        "spearman",
        "number",
        lambda scored: regression.of_predictions(regression.spearman, *scored.numbers()),
        domain.several_numbers,
        ("spearman_corrcoef",),
    ),
)
_METRICS = {metric.name: metric for metric in _ALL}
