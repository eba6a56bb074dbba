"""The shape that most tasks share: a few fields in, the word of a class out; and STS-B, a number out.

Source: the preprocessors `glue` and `stsb` and the postprocessor `string_label_to_class_id` of the T5 library
0.9.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lowland import metrics
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, Example, Pair, Row, Task

_METRICS: dict[str, Callable[[Sequence[int], Sequence[int]], float]] = {
    "accuracy": metrics.accuracy,
    "f1": metrics.binary_f1,
    "matthews_corrcoef": metrics.matthews,
    "mean_3class_f1": lambda targets, predictions: metrics.macro_f1(targets, predictions, range(3)),
}


def classification(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes a task that writes `<prefix> <field>: <text> <field>: <text>` and expects a class word.

    The pieces are joined by single spaces; the fields' own spaces stay as they are. A row whose label or text
    is empty is dropped, as T5 does. A prediction that is no class word, character for character, is wrong.
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

    return Task(metrics=names, write=write, scorer=score, classes=classes, **common)


def similarity(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes STS-B: a similarity from 0 to 5 in steps of 0.2; a prediction that is no number counts as -1."""
    one, two = entry["features"].values()

    def write(row: Row, split: str) -> list[Example]:
        if fields.has_none(row, *one, *two, "score", "label"):
            return []
        first, second = fields.text(row, *one), fields.text(row, *two)
        name = "score" if "score" in row else "label"
        value = row.get(name, -1)
        try:
            number = float("nan" if isinstance(value, bool) else value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if number != -1 and not 0 <= number <= 5:
            raise fields.wrong(name, "a number from 0 to 5", value)
        inputs = Pair(f"stsb sentence1: {first} sentence2: {second}", first, second)
        return [Example(inputs=inputs, targets="-1.0" if number == -1 else round_to_fifth(number))]

    def score(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
        right = [metrics.parse_number(example.targets) for example in examples]
        written = [metrics.parse_number(prediction) for prediction in predictions]
        return {
            "pearson_corrcoef": metrics.pearson(right, written),
            "spearman_corrcoef": metrics.spearman(right, written),
        }

    return Task(metrics=("pearson_corrcoef", "spearman_corrcoef"), write=write, scorer=score, **common)


def round_to_fifth(score: float) -> str:
    """Rounds to the nearest fifth, in single precision with halves to even as T5 does: 2.5 gives `2.4`."""
    fifths = np.round(np.float32(score) * np.float32(5))
    return f"{float(fifths / np.float32(5)):.1f}"
