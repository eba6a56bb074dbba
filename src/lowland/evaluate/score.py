"""Evaluation sets: let the model write, score what it wrote, keep it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowland.files import write_atomic
from lowland.tasks.base import Example, Task

if TYPE_CHECKING:
    from lowland.families.base import Family


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The score of a model on one evaluation set: metrics in percent, and what it wrote for each example."""

    metrics: Mapping[str, float]
    predictions: tuple[str, ...]
    seconds: float
    examples: int
    warnings: tuple[str, ...] = ()


def evaluate_sets(
    model: Family,
    tasks_by_set: Mapping[str, Task],
    examples_by_set: Mapping[str, Sequence[Example]],
    *,
    input_length: int | None = None,
    target_length: int | None = None,
    batch_size: int = 64,
    bf16: bool = False,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, EvaluationResult]:
    """Scores a model on several evaluation sets, each by its task.

    Lengths are each task's own by default; `labels` are all that the model knows, by evaluation set, those of
    its examples by default.
    """
    results = {}
    for name, examples in examples_by_set.items():
        task = tasks_by_set[name]
        start = time.perf_counter()
        cut: list[int] = []
        length, most = model.lengths(input_length or task.input_length, target_length or task.target_length)
        predictions = model.predict(
            [example.inputs for example in examples],
            input_length=length,
            target_length=most,
            batch_size=batch_size,
            bf16=bf16,
            on_cut=cut.append,
            labels=(labels or {}).get(name) or task.labels(examples),
        )
        results[name] = EvaluationResult(
            metrics=task.evaluate(examples, predictions),
            predictions=tuple(predictions),
            seconds=time.perf_counter() - start,
            examples=len(examples),
            warnings=tuple(
                f"{name}: {number} of {len(examples)} evaluation inputs are longer than {length} tokens and "
                "were cut."
                for number in cut
            ),
        )
    return results


def write_predictions(path: str | Path, examples: Sequence[Example], predictions: Sequence[str]) -> None:
    """Writes one JSON line for each example (`inputs`, `targets`, `prediction`): all of them, or no file."""
    rows = (
        {"inputs": example.inputs, "targets": example.targets, "prediction": prediction}
        for example, prediction in zip(examples, predictions, strict=True)
    )
    write_atomic(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
