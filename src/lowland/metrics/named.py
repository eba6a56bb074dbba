"""The metrics that a user chooses by name for data of his own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
        description: One line for a list of metrics.
        compute: Gives its numbers, in percent.
        limit: Says what a set with such targets cannot tell; `None` where it is good for the metric.
        numbers: The names of its numbers, where they differ from its own.
    """

    name: str
    kind: str
    description: str
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
        found = self.compute(Scored(targets, predictions, answers, task))
        return {key: found[key] for key in self.keys} if isinstance(found, dict) else {self.keys[0]: found}

    def check(self, targets: Sequence[str], task: Domain) -> None:
        """Refuses targets that the metric cannot be of.

        Raises:
            UserError: If they are not numbers, or not of two classes, or none is the class that is named.
        """
        named = self.name.removeprefix("f1:")
        if named != self.name and named not in task.classes:
            raise UserError(
                f"The metric {self.name!r} names a class that no target has; {domain.listed(task.classes)}."
            )
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
        own = partial(_f1, label)
        return Metric(name, "class", f"F1 of the class {label!r}", own, partial(_few, label), ("f1",))
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


def _few(label: str, targets: Sequence[str], task: Domain) -> Limit | None:
    return domain.positives(targets, replace(task, positive=label))


def _macro_f1(scored: Scored) -> float:
    right, written = scored.classes()
    # As scikit-learn's average: a class that occurs on neither side has no F1.
    return classification.macro_f1(right, written, sorted({*right, *written} - {-1}))


def _exact_match(scored: Scored) -> float:
    return qa.max_over_answers(lambda right, text: float(right == text), scored.answers, scored.predictions)


def _squad(scored: Scored) -> dict[str, float]:
    return qa.squad(scored.answers, scored.predictions)


def _corpus(name: str, scored: Scored) -> float:
    return text.corpus(name, scored.answers, scored.predictions)


_METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "accuracy",
            "class",
            "share of predictions that equal the target, character for character",
            lambda scored: classification.accuracy(scored.targets, scored.predictions),
            domain.one_class,
        ),
        Metric(
            "f1",
            "class",
            "F1 of the class of --positive, else of the one that sorts last",
            partial(_f1, None),
            domain.positives,
        ),
        Metric(
            "macro_f1", "class", "unweighted mean of the F1 of every class", _macro_f1, domain.all_classes
        ),
        Metric(
            "matthews",
            "class",
            "Matthews correlation",
            lambda s: classification.matthews(*s.classes()) if len(set(s.targets)) > 1 else math.nan,
            domain.several_classes,
            ("matthews_corrcoef",),
        ),
        Metric(
            "exact_match",
            "text",
            "share of predictions that equal a right answer, character for character",
            _exact_match,
        ),
        Metric(
            "qa", "text", "exact match and token F1 with SQuAD's normalisation", _squad, numbers=("em", "f1")
        ),
        Metric("qa_f1", "text", "token F1 alone with SQuAD's normalisation", _squad, numbers=("f1",)),
        Metric(
            "trivia_qa",
            "text",
            "exact match and token F1 with TriviaQA's normalisation",
            lambda scored: qa.trivia_qa(scored.answers, scored.predictions),
            numbers=("em", "f1"),
        ),
        Metric(
            "rouge",
            "text",
            "ROUGE-1, -2 and -L of English stems; sensitive to articles, not to case or punctuation",
            lambda scored: text.rouge(scored.answers, scored.predictions),
            numbers=text.ROUGE_KEYS,
        ),
        Metric(
            "bleu",
            "text",
            "BLEU of all predictions together; sensitive to case, punctuation and articles",
            partial(_corpus, "bleu"),
        ),
        Metric(
            "chrf",
            "text",
            "chrF2 of all predictions together, over characters; sensitive to case and articles",
            partial(_corpus, "chrf"),
        ),
        Metric(
            "pearson",
            "number",
            "Pearson correlation of numbers; other texts count as less than all",
            lambda scored: regression.of_predictions(regression.pearson, *scored.numbers()),
            domain.several_numbers,
            ("pearson_corrcoef",),
        ),
        Metric(
            "spearman",
            "number",
            "Spearman rank correlation of numbers; other texts count as less than all",
            lambda scored: regression.of_predictions(regression.spearman, *scored.numbers()),
            domain.several_numbers,
            ("spearman_corrcoef",),
        ),
    )
}
