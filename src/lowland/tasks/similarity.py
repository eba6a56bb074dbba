"""STS-B: two sentences in, their similarity from 0 to 5 in steps of 0.2 out.

Source: the preprocessor `stsb` of the T5 library 0.9.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import Example, Pair, Row, Task

SENTENCE1 = ("sentence1", "#1 String", "text_a")
SENTENCE2 = ("sentence2", "#2 String", "text_b")


def similarity(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes the task; a prediction that is no number counts as -1."""
    names = ("pearson_corrcoef", "spearman_corrcoef")
    return Task(metrics=names, limited_by=names[:1], write=_write, scorer=_score, **common)


def _write(row: Row, split: str) -> list[Example]:
    if fields.has_none(row, *SENTENCE1, *SENTENCE2, "score", "label"):
        return []
    one, two = fields.text(row, *SENTENCE1), fields.text(row, *SENTENCE2)
    inputs = Pair(f"stsb sentence1: {one} sentence2: {two}", one, two)
    name = "score" if "score" in row else "label"
    value = row.get(name, -1)
    try:
        score = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        score = float("nan")
    if score != -1 and not 0 <= score <= 5:
        raise UserError(
            f"the field {name!r} must be a number from 0 to 5, but it is {fields.describe(value)}."
        )
    return [Example(inputs=inputs, targets="-1.0" if score == -1 else round_to_fifth(score))]


def round_to_fifth(score: float) -> str:
    """Rounds to the nearest fifth, in single precision with halves to even as T5 does: 2.5 gives `2.4`."""
    fifths = np.round(np.float32(score) * np.float32(5))
    return f"{float(fifths / np.float32(5)):.1f}"


def _score(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    right = [metrics.parse_number(example.targets) for example in examples]
    written = [metrics.parse_number(prediction) for prediction in predictions]
    return {
        "pearson_corrcoef": metrics.pearson(right, written),
        "spearman_corrcoef": metrics.spearman(right, written),
    }
