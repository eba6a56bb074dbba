"""The shape that most tasks share: a few fields in, the word of a class out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lowland import metrics
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, Example, Pair, Row, Task


def classification(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes a task that writes `<prefix> <field>: <text> <field>: <text>` and expects a class word.

    The pieces are joined by single spaces; the fields' own spaces stay as they are. A row whose label or text
    is empty is dropped, as T5 does. A prediction that is no class word, character for character, is wrong.

    Args:
        entry: `prefix`, the first word of the input; `features`, its fields in order, each with the columns
            in which it may be; `classes`, the words in the order of the class numbers; `labels`, columns of
            the label; `metrics`.
        **common: What any task has.

    Source:
        The preprocessor `glue` and the postprocessor `string_label_to_class_id` of the T5 library.
    """
    features: Mapping[str, Sequence[str]] = entry["features"]
    labels, names = entry.get("labels", ["label"]), tuple(entry.get("metrics", ["accuracy"]))
    columns = [column for found in features.values() for column in found]
    classes = tuple(entry["classes"])
    # True means class 1 only where class 1 is the affirmative one: entailment is class 0.
    booleans = len(classes) == 2 and "entailment" not in classes

    def write(row: Row, split: str) -> list[Example]:
        # MultiNLI writes "-" where the annotators did not agree; such rows are left out of the benchmark.
        if fields.has_none(row, *columns, *labels) or any(row.get(column) in ("", "-") for column in labels):
            return []
        texts = {field: fields.text(row, *found) for field, found in features.items()}
        inputs = " ".join([entry["prefix"], *(f"{field}: {text}" for field, text in texts.items())])
        if len(texts) == 2:  # T5 has the hypothesis first, and everybody else the premise
            inputs = Pair(inputs, *(texts[field] for field in sorted(texts, key="hypothesis".__eq__)))
        label = fields.class_id(row, classes, labels, booleans)
        return [Example(inputs=inputs, targets=UNLABELLED if label is None else classes[label])]

    def score(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
        numbers = {word: number for number, word in enumerate(classes)}
        strange = next((example.targets for example in examples if example.targets not in numbers), None)
        if strange is not None:
            raise ValueError(f"The target {strange!r} is none of the classes {', '.join(classes)}.")
        right = [numbers[example.targets] for example in examples]
        written = [numbers.get(prediction, -1) for prediction in predictions]
        return {name: _METRICS[name](right, written) for name in names}

    return Task(metrics=names, limited_by=names, write=write, scorer=score, classes=classes, **common)


_METRICS: dict[str, Callable[[Sequence[int], Sequence[int]], float]] = {
    "accuracy": metrics.accuracy,
    "f1": metrics.binary_f1,
    "matthews_corrcoef": metrics.matthews,
    "mean_3class_f1": lambda targets, predictions: metrics.macro_f1(targets, predictions, range(3)),
}
