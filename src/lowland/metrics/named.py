"""The metrics that a user chooses by name for data of his own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lowland.errors import UserError, unknown_name
from lowland.metrics import classification, domain, qa, regression, text
from lowland.metrics.domain import Domain, Limit

Score = Callable[[Sequence[str], Sequence[str], Sequence[Sequence[str]], Domain], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of raw texts.

    Attributes:
        name: The name by which it is chosen.
        keys: The names of its numbers.
        description: One line for a list of metrics.
        kind: What the targets must be: `class`, `text`, or `number`.
        score: Maps targets, predictions, all right answers of each example and what the task's targets can
            be to numbers in percent.
        limit: Says what a set with such targets cannot tell; `None` where it is good for the metric.
    """

    name: str
    keys: tuple[str, ...]
    description: str
    kind: str
    score: Score
    limit: Callable[[Sequence[str], Domain], Limit | None] = lambda targets, task: None

    def check(self, targets: Sequence[str], task: Domain) -> None:
        """Refuses targets that the metric cannot be of.

        Args:
            targets: All targets of the task.
            task: What they can be.

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

    Returns:
        The metric.

    Raises:
        UserError: If the name is unknown; the message names the nearest ones.
    """
    base, colon, label = name.partition(":")
    if base == "f1" and colon:
        if not label:
            raise UserError("The metric 'f1:' lacks the class after the colon; write for example 'f1:spam'.")
        return _f1(name, label)
    if name not in _METRICS:
        raise unknown_name("metric", name, _METRICS)
    return _METRICS[name]


def metric_names() -> tuple[str, ...]:
    """Names of all metrics, in the order in which they are listed."""
    return tuple(_METRICS)


def _two_classes(task: Domain) -> None:
    """Refuses F1 of more than two classes where none is named.

    Raises:
        UserError: If there are more, and the user has named none.
    """
    if len(task.classes) > 2 and not task.named:
        raise UserError(
            f"The metric 'f1' needs two classes, but the targets have {len(task.classes)};"
            " take 'macro_f1', or name one class with --positive, as in --positive spam."
        )


def _class_ids(texts: Sequence[str], task: Domain) -> list[int]:
    ids = {label: number for number, label in enumerate(task.classes)}
    return [ids.get(text, -1) for text in texts]


def _f1(name: str, positive: str | None) -> Metric:
    def score(
        targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]], task: Domain
    ) -> dict[str, float]:
        if positive is None:
            _two_classes(task)
        label = positive or task.positive
        if label not in targets:
            return {"f1": math.nan}
        # An invalid prediction is no class of the task: it stays -1 and counts against its target.
        valid = {*task.classes, label}
        numbers = [(1 if text == label else 0) if text in valid else -1 for text in predictions]
        return {"f1": classification.binary_f1([int(target == label) for target in targets], numbers)}

    which = (
        f"the class {positive!r}" if positive else "the class of --positive, else of the one that sorts last"
    )
    return Metric(
        name=name,
        keys=("f1",),
        description=f"F1 of {which}",
        kind="class",
        score=score,
        limit=lambda targets, task: domain.positives(targets, positive or task.positive),
    )


def _macro_f1(
    targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]], task: Domain
) -> dict[str, float]:
    right, written = _class_ids(targets, task), _class_ids(predictions, task)
    # As scikit-learn's average: a class that occurs on neither side has no F1.
    present = sorted({*right, *written} - {-1})
    return {"macro_f1": classification.macro_f1(right, written, present)}


def _matthews(
    targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]], task: Domain
) -> dict[str, float]:
    if len(set(targets)) < 2:
        return {"matthews_corrcoef": math.nan}
    ids = _class_ids(targets, task), _class_ids(predictions, task)
    return {"matthews_corrcoef": classification.matthews(*ids)}


def _numbers(texts: Sequence[str], task: Domain) -> list[float]:
    numbers = map(regression.finite_number, texts)
    return [task.outside if number is None else number for number in numbers]


_METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            keys=("accuracy",),
            description="share of predictions that equal the target, character for character",
            kind="class",
            score=lambda targets, texts, answers, task: {"accuracy": classification.accuracy(targets, texts)},
            limit=lambda targets, task: domain.one_class(targets),
        ),
        _f1("f1", None),
        Metric(
            name="macro_f1",
            keys=("macro_f1",),
            description="unweighted mean of the F1 of every class",
            kind="class",
            score=_macro_f1,
            limit=lambda targets, task: domain.all_classes(targets, task.classes),
        ),
        Metric(
            name="matthews",
            keys=("matthews_corrcoef",),
            description="Matthews correlation",
            kind="class",
            score=_matthews,
            limit=lambda targets, task: domain.several_classes(targets),
        ),
        Metric(
            name="exact_match",
            keys=("exact_match",),
            description="share of predictions that equal a right answer, character for character",
            kind="text",
            score=lambda targets, texts, answers, task: {
                "exact_match": qa.max_over_answers(lambda right, text: float(right == text), answers, texts)
            },
        ),
        Metric(
            name="qa",
            keys=("em", "f1"),
            description="exact match and token F1 with SQuAD's normalisation",
            kind="text",
            score=lambda targets, texts, answers, task: qa.squad(answers, texts),
        ),
        Metric(
            name="qa_f1",
            keys=("f1",),
            description="token F1 alone with SQuAD's normalisation",
            kind="text",
            score=lambda targets, texts, answers, task: {"f1": qa.squad(answers, texts)["f1"]},
        ),
        Metric(
            name="trivia_qa",
            keys=("em", "f1"),
            description="exact match and token F1 with TriviaQA's normalisation",
            kind="text",
            score=lambda targets, texts, answers, task: qa.trivia_qa(answers, texts),
        ),
        Metric(
            name="rouge",
            keys=text.ROUGE_KEYS,
            description="ROUGE-1, -2 and -L of English stems; minds articles, not case or punctuation",
            kind="text",
            score=text.rouge,
        ),
        Metric(
            name="bleu",
            keys=("bleu",),
            description="BLEU of all predictions together; minds case, punctuation and articles",
            kind="text",
            score=text.bleu,
        ),
        Metric(
            name="chrf",
            keys=("chrf",),
            description="chrF2 of all predictions together, over characters; minds case and articles",
            kind="text",
            score=text.chrf,
        ),
        Metric(
            name="pearson",
            keys=("pearson_corrcoef",),
            description="Pearson correlation of numbers; other texts count as less than all",
            kind="number",
            score=lambda targets, texts, answers, task: {
                "pearson_corrcoef": regression.pearson(_numbers(targets, task), _numbers(texts, task))
            },
            limit=lambda targets, task: domain.several_numbers(targets),
        ),
        Metric(
            name="spearman",
            keys=("spearman_corrcoef",),
            description="Spearman rank correlation of numbers; other texts count as less than all",
            kind="number",
            score=lambda targets, texts, answers, task: {
                "spearman_corrcoef": regression.spearman(_numbers(targets, task), _numbers(texts, task))
            },
            limit=lambda targets, task: domain.several_numbers(targets),
        ),
    )
}
