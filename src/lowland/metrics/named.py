"""The metrics that a user chooses by name for data of his own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lowland.errors import UserError, unknown_name
from lowland.metrics import classification, qa, regression, text

Score = Callable[[Sequence[str], Sequence[str], Sequence[Sequence[str]]], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of raw texts.

    Attributes:
        name: The name by which it is chosen.
        keys: The names of its numbers.
        description: One line for a list of metrics.
        kind: What the targets must be: `class`, `text`, or `number`.
        score: Maps targets, predictions and all right answers of each example to numbers in percent.
    """

    name: str
    keys: tuple[str, ...]
    description: str
    kind: str
    score: Score


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


def _class_ids(
    targets: Sequence[str], predictions: Sequence[str], classes: Sequence[str]
) -> tuple[list[int], list[int]]:
    ids = {label: number for number, label in enumerate(classes)}
    return [ids.get(target, -1) for target in targets], [ids.get(text, -1) for text in predictions]


def _f1(name: str, positive: str | None) -> Metric:
    def score(
        targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        classes = sorted(set(targets))
        label = positive
        if label is None:
            if len(classes) > 2:
                raise UserError(
                    f"The metric 'f1' needs two classes, but the targets have {len(classes)};"
                    " take 'macro_f1', or name one class as in 'f1:spam'."
                )
            label = classes[-1] if classes else ""
        # An invalid prediction is neither class: it stays -1 and counts against its target.
        valid = {*classes, label}
        numbers = [(1 if text == label else 0) if text in valid else -1 for text in predictions]
        return {"f1": classification.binary_f1([int(target == label) for target in targets], numbers)}

    which = f"the class {positive!r}" if positive else "the class that sorts last, for two classes"
    return Metric(name=name, keys=("f1",), description=f"F1 of {which}", kind="class", score=score)


def _macro_f1(
    targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]]
) -> dict[str, float]:
    classes = sorted(set(targets))
    return {"macro_f1": classification.macro_f1(*_class_ids(targets, predictions, classes), len(classes))}


def _matthews(
    targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]]
) -> dict[str, float]:
    ids = _class_ids(targets, predictions, sorted(set(targets)))
    return {"matthews_corrcoef": classification.matthews(*ids)}


def _numbers(texts: Sequence[str]) -> list[float]:
    return [regression.parse_number(text) for text in texts]


_METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            keys=("accuracy",),
            description="share of predictions that equal the target, character for character",
            kind="class",
            score=lambda targets, texts, answers: {"accuracy": classification.accuracy(targets, texts)},
        ),
        _f1("f1", None),
        Metric(
            name="macro_f1",
            keys=("macro_f1",),
            description="unweighted mean of the F1 of every class among the targets",
            kind="class",
            score=_macro_f1,
        ),
        Metric(
            name="matthews",
            keys=("matthews_corrcoef",),
            description="Matthews correlation",
            kind="class",
            score=_matthews,
        ),
        Metric(
            name="exact_match",
            keys=("exact_match",),
            description="share of predictions that equal a right answer, character for character",
            kind="text",
            score=lambda targets, texts, answers: {
                "exact_match": qa.max_over_answers(lambda right, text: float(right == text), answers, texts)
            },
        ),
        Metric(
            name="qa",
            keys=("em", "f1"),
            description="exact match and token F1 with SQuAD's normalisation",
            kind="text",
            score=lambda targets, texts, answers: qa.squad(answers, texts),
        ),
        Metric(
            name="qa_f1",
            keys=("f1",),
            description="token F1 alone with SQuAD's normalisation",
            kind="text",
            score=lambda targets, texts, answers: {"f1": qa.squad(answers, texts)["f1"]},
        ),
        Metric(
            name="trivia_qa",
            keys=("em", "f1"),
            description="exact match and token F1 with TriviaQA's normalisation",
            kind="text",
            score=lambda targets, texts, answers: qa.trivia_qa(answers, texts),
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
            description="Pearson correlation of numbers; a text that is no number counts as -1",
            kind="number",
            score=lambda targets, texts, answers: {
                "pearson_corrcoef": regression.pearson(_numbers(targets), _numbers(texts))
            },
        ),
        Metric(
            name="spearman",
            keys=("spearman_corrcoef",),
            description="Spearman rank correlation of numbers; a text that is no number counts as -1",
            kind="number",
            score=lambda targets, texts, answers: {
                "spearman_corrcoef": regression.spearman(_numbers(targets), _numbers(texts))
            },
        ),
    )
}
