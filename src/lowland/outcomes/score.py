"""The task's score: the outcome of every metric, and for labels the scores of each class.

scikit-learn is imported where it is used: it takes a second to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowland.outcomes.base import Outcome

OTHER = "(other)"
"""The column of predictions that are none of the labels."""


def score(metric: str, floor: float = 0.0) -> Outcome:
    """Returns the outcome of a metric in percent, and of what one and the same answer to all reaches."""
    return Outcome(
        name=metric,
        unit="points",
        better="higher",
        margin=0.5,
        description=f"{metric} on the test set, in percent",
        floor=floor,
        ceiling=100.0,
    )


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well one class is told.

    Attributes:
        label: The class.
        precision: Share of right ones among the predictions of this class, in percent; 0 without any.
        recall: Share of the class's examples that are predicted, in percent.
        f1: Their harmonic mean, in percent.
        examples: How many examples the class has.
    """

    label: str
    precision: float
    recall: float
    f1: float
    examples: int


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The scores of every class, and which class is taken for which.

    Attributes:
        scores: One for each label, in their order.
        columns: What the columns of `confusion` stand for: the labels, and `(other)` where it is needed.
        confusion: For each label a row: how often it was predicted as each column.
    """

    scores: tuple[ClassScore, ...]
    columns: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]


def score_classes(targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str]) -> Classes:
    """Scores each class on its own; a prediction that is none of the labels counts as `(other)`.

    Raises:
        ValueError: If there are no examples, not as many predictions, or a target is none of the labels.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    if not targets or len(targets) != len(predictions):
        raise ValueError(f"Invalid classes: {len(targets)} targets and {len(predictions)} predictions.")
    if unknown := set(targets) - set(labels):
        raise ValueError(f"The target {min(unknown)!r} is none of the labels {list(labels)}.")
    known = {label: number for number, label in enumerate(labels)}
    right = [known[target] for target in targets]
    given = [known.get(prediction, len(labels)) for prediction in predictions]
    numbers = list(range(len(labels)))
    precision, recall, f1, support = precision_recall_fscore_support(
        right, given, labels=numbers, zero_division=0.0
    )
    columns = (*labels, OTHER) if len(labels) in given else tuple(labels)
    matrix = confusion_matrix(right, given, labels=list(range(len(columns))))
    return Classes(
        scores=tuple(
            ClassScore(
                label=label,
                precision=100 * float(precision[number]),
                recall=100 * float(recall[number]),
                f1=100 * float(f1[number]),
                examples=int(support[number]),
            )
            for label, number in known.items()
        ),
        columns=columns,
        confusion=tuple(tuple(int(count) for count in row) for row in matrix[: len(labels)]),
    )
