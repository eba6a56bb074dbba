"""The shape that most tasks share: a few fields in, the word of a class out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lowland import metrics
from lowland.metrics import domain
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, DataSet, Example, Pair, Row, Task

Features = Mapping[str, tuple[str, ...]]
"""Name of a field in the text -> columns in which it is found."""

Limits = Callable[[Sequence[str]], list[metrics.Limit]]


def classification(
    name: str,
    description: str,
    *,
    prefix: str,
    features: Features,
    classes: tuple[str, ...],
    data: DataSet,
    label_columns: tuple[str, ...] = ("label",),
    metrics: tuple[str, ...] = ("accuracy",),
) -> Task:
    """Makes a task that writes `<prefix> <field>: <text> <field>: <text>` and expects a class word.

    The pieces are joined by single spaces; the fields' own spaces stay as they are. A row whose label or text
    is empty is dropped, as T5 does. A prediction that is no class word, character for character, is wrong.

    Args:
        name: The registered name.
        description: One line for `lowland tasks`.
        prefix: The first word of the input.
        features: The fields in the order of the text.
        classes: The class words in the order of the class numbers.
        data: Where the rows are.
        label_columns: Columns in which the label is found.
        metrics: What it is scored by.

    Source:
        The preprocessor `glue` and the postprocessor `string_label_to_class_id` of the T5 library.
    """
    columns = [column for names in features.values() for column in names]
    # True means class 1 only where class 1 is the affirmative one: entailment is class 0.
    booleans = len(classes) == 2 and "entailment" not in classes

    def write(row: Row, split: str) -> list[Example]:
        # MultiNLI writes "-" where the annotators did not agree; such rows are left out of the benchmark.
        if fields.has_none(row, *columns, *label_columns) or any(
            row.get(column) in ("", "-") for column in label_columns
        ):
            return []
        texts = {field: fields.text(row, *names) for field, names in features.items()}
        inputs = " ".join([prefix, *(f"{field}: {text}" for field, text in texts.items())])
        if len(texts) == 2:  # T5 has the hypothesis first, and everybody else the premise
            inputs = Pair(inputs, *(texts[field] for field in sorted(texts, key="hypothesis".__eq__)))
        label = fields.class_id(row, classes, label_columns, booleans)
        target = UNLABELLED if label is None else classes[label]
        return [Example(inputs=inputs, targets=target)]

    return Task(
        name=name,
        description=description,
        metrics=metrics,
        write=write,
        scorer=lambda examples, predictions: score_classes(examples, predictions, classes, metrics),
        limit=limits_of(classes, metrics),
        data=data,
        classes=classes,
    )


def score_classes(
    examples: Sequence[Example], predictions: Sequence[str], classes: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    """Scores class words by T5's metrics.

    Raises:
        ValueError: If a target is no class word.
    """
    numbers = {word: number for number, word in enumerate(classes)}
    strange = next((example.targets for example in examples if example.targets not in numbers), None)
    if strange is not None:
        raise ValueError(f"The target {strange!r} is none of the classes {', '.join(classes)}.")
    right = [numbers[example.targets] for example in examples]
    written = [numbers.get(prediction, -1) for prediction in predictions]
    return {name: _METRICS[name](right, written) for name in names}


def limits_of(classes: Sequence[str], names: Sequence[str]) -> Limits:
    """Makes what says for which metrics some targets lack a class, or are too few."""
    task = metrics.Domain.of(classes, classes[1] if classes else None)

    def limits(targets: Sequence[str]) -> list[metrics.Limit]:
        found = [_LIMITS[name](targets, task) for name in names]
        return list(dict.fromkeys(limit for limit in found if limit is not None))

    return limits


_METRICS: dict[str, Callable[[Sequence[int], Sequence[int]], float]] = {
    "accuracy": metrics.accuracy,
    "f1": metrics.binary_f1,
    "matthews_corrcoef": metrics.matthews,
    "mean_3class_f1": lambda targets, predictions: metrics.macro_f1(targets, predictions, range(3)),
}

_LIMITS: dict[str, Callable[[Sequence[str], metrics.Domain], metrics.Limit | None]] = {
    "accuracy": domain.one_class,
    "f1": domain.positives,
    "matthews_corrcoef": domain.several_classes,
    "mean_3class_f1": domain.all_classes,
    "pearson_corrcoef": domain.several_numbers,
}
