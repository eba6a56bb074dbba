"""The metrics that a user chooses by name for data of his own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
        keys: The names of its numbers.
        description: One line for a list of metrics.
        compute: Gives its numbers, in percent.
        limit: Says what a set with such targets cannot tell; `None` where it is good for the metric.
    """

    name: str
    kind: str
    keys: tuple[str, ...]
    description: str
    compute: Callable[[Scored], float | dict[str, float]]
    limit: Callable[[Sequence[str], Domain], Limit | None] = lambda targets, task: None

    def score(
        self,
        targets: Sequence[str],
        predictions: Sequence[str],
        answers: Sequence[Sequence[str]],
        task: Domain,
    ) -> dict[str, float]:
        """Maps targets, predictions, all right answers of each example and what targets can be to numbers."""
        found = self.compute(Scored(targets, predictions, answers, task))
        return {key: found[key] for key in self.keys} if isinstance(found, dict) else {self.keys[0]: found}

    def check(self, targets: Sequence[str], task: Domain) -> None:
        """Refuses targets that the metric cannot be of.

        Raises:
            UserError: If they are not numbers, or not of two classes, or none is the class that is named.
        """
        named = self.name.removeprefix("f1:")
        if named != self.name and named not in task.classes:
            raise UserError(f"The metric {self.name!r} names a class that no target has.")
        if self.name == "f1":
            _two_classes(task)
        if self.kind == "number":
            strange = next((text for text in targets if regression.finite_number(text) is None), None)
            if strange is not None:
                raise UserError(f"The metric {self.name!r} needs numbers, but a target is {strange!r}.")


def by_name(name: str) -> Metric:
    """Looks up a metric.

    Args:
        name: A name of `metric_names()`, or `f1:LABEL` for the F1 of the class `LABEL`.

    Raises:
        UserError: If the name is unknown; the message names the nearest ones.
    """
    base, colon, label = name.partition(":")
    if base == "f1" and colon:
        if not label:
            raise UserError("The metric 'f1:' lacks the class after the colon; write for example 'f1:spam'.")
        return Metric(
            name,
            "class",
            ("f1",),
            f"F1 of the class {label!r}",
            partial(_f1, label),
            lambda targets, task: domain.positives(targets, label),
        )
    if name not in _METRICS:
        raise unknown_name("metric", name, _METRICS)
    return _METRICS[name]


def metric_names() -> tuple[str, ...]:
    """Names of all metrics, in the order in which they are listed."""
    return tuple(_METRICS)


def _two_classes(task: Domain) -> None:
    """Refuses F1 of more than two classes where none is named."""
    if len(task.classes) > 2 and not task.named:
        raise UserError(
            f"The metric 'f1' needs two classes, but the targets have {len(task.classes)};"
            " take 'macro_f1', or name one class with --positive, as in --positive spam."
        )


def _f1(positive: str | None, scored: Scored) -> float:
    if positive is None:
        _two_classes(scored.task)
    label = positive or scored.task.positive
    if label not in scored.targets:
        return math.nan
    # An invalid prediction is no class of the task: it stays -1 and counts against its target.
    valid = {*scored.task.classes, label}
    numbers = [int(text == label) if text in valid else -1 for text in scored.predictions]
    return classification.binary_f1([int(target == label) for target in scored.targets], numbers)


def _macro_f1(scored: Scored) -> float:
    right, written = scored.classes()
    # As scikit-learn's average: a class that occurs on neither side has no F1.
    return classification.macro_f1(right, written, sorted({*right, *written} - {-1}))


def _exact_match(scored: Scored) -> float:
    return qa.max_over_answers(lambda right, text: float(right == text), scored.answers, scored.predictions)


_METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "accuracy",
            "class",
            ("accuracy",),
            "share of predictions that equal the target, character for character",
            lambda scored: classification.accuracy(scored.targets, scored.predictions),
            lambda targets, task: domain.one_class(targets),
        ),
        Metric(
            "f1",
            "class",
            ("f1",),
            "F1 of the class of --positive, else of the one that sorts last",
            partial(_f1, None),
            lambda targets, task: domain.positives(targets, task.positive),
        ),
        Metric(
            "macro_f1",
            "class",
            ("macro_f1",),
            "unweighted mean of the F1 of every class",
            _macro_f1,
            lambda targets, task: domain.all_classes(targets, task.classes),
        ),
        Metric(
            "matthews",
            "class",
            ("matthews_corrcoef",),
            "Matthews correlation",
            lambda s: classification.matthews(*s.classes()) if len(set(s.targets)) > 1 else math.nan,
            lambda targets, task: domain.several_classes(targets),
        ),
        Metric(
            "exact_match",
            "text",
            ("exact_match",),
            "share of predictions that equal a right answer, character for character",
            _exact_match,
        ),
        Metric(
            "qa",
            "text",
            ("em", "f1"),
            "exact match and token F1 with SQuAD's normalisation",
            lambda scored: qa.squad(scored.answers, scored.predictions),
        ),
        Metric(
            "qa_f1",
            "text",
            ("f1",),
            "token F1 alone with SQuAD's normalisation",
            lambda scored: qa.squad(scored.answers, scored.predictions),
        ),
        Metric(
            "trivia_qa",
            "text",
            ("em", "f1"),
            "exact match and token F1 with TriviaQA's normalisation",
            lambda scored: qa.trivia_qa(scored.answers, scored.predictions),
        ),
        Metric(
            "rouge",
            "text",
            text.ROUGE_KEYS,
            "ROUGE-1, -2 and -L of English stems; minds articles, not case or punctuation",
            lambda scored: text.rouge(scored.answers, scored.predictions),
        ),
        Metric(
            "bleu",
            "text",
            ("bleu",),
            "BLEU of all predictions together; minds case, punctuation and articles",
            lambda scored: text.corpus("bleu", scored.answers, scored.predictions),
        ),
        Metric(
            "chrf",
            "text",
            ("chrf",),
            "chrF2 of all predictions together, over characters; minds case and articles",
            lambda scored: text.corpus("chrf", scored.answers, scored.predictions),
        ),
        Metric(
            "pearson",
            "number",
            ("pearson_corrcoef",),
            "Pearson correlation of numbers; other texts count as less than all",
            lambda scored: regression.pearson(*scored.numbers()),
            lambda targets, task: domain.several_numbers(targets),
        ),
        Metric(
            "spearman",
            "number",
            ("spearman_corrcoef",),
            "Spearman rank correlation of numbers; other texts count as less than all",
            lambda scored: regression.spearman(*scored.numbers()),
            lambda targets, task: domain.several_numbers(targets),
        ),
    )
}
