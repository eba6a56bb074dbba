"""Evaluation sets: let the model write, score what it wrote, keep it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowland.evaluate.generate import generate
from lowland.files import write_atomic
from lowland.models import LoadedModel
from lowland.tasks.base import Example, Task


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The score of a model on one evaluation set.

    Attributes:
        metrics: Metric name -> value in percent.
        predictions: What the model wrote for each example.
        seconds: Wall-clock time of generation and scoring.
        examples: Number of examples.
        warnings: What the user should know: inputs that were cut.
    """

    metrics: Mapping[str, float]
    predictions: tuple[str, ...]
    seconds: float
    examples: int
    warnings: tuple[str, ...] = ()


def evaluate_sets(
    loaded: LoadedModel,
    tasks_by_set: Mapping[str, Task],
    examples_by_set: Mapping[str, Sequence[Example]],
    *,
    input_length: int | None = None,
    target_length: int | None = None,
    batch_size: int = 64,
    bf16: bool = False,
) -> dict[str, EvaluationResult]:
    """Scores a model on several evaluation sets.

    Args:
        loaded: The model and its tokenizer.
        tasks_by_set: Evaluation set -> the task that scores it.
        examples_by_set: Evaluation set -> its examples.
        input_length: Most tokens of an input; `None` for each task's own.
        target_length: Most tokens that are written; `None` for each task's own.
        batch_size: Inputs at a time.
        bf16: Whether to compute under bf16 autocast.

    Returns:
        Evaluation set -> result, in the order of `examples_by_set`.
    """
    results = {}
    for name, examples in examples_by_set.items():
        task = tasks_by_set[name]
        start = time.perf_counter()
        cut: list[int] = []
        length = input_length or task.input_length
        predictions = generate(
            loaded,
            [example.inputs for example in examples],
            input_length=length,
            target_length=target_length or task.target_length,
            batch_size=batch_size,
            bf16=bf16,
            on_cut=cut.append,
            labels=task.labels(examples),
        )
        metrics = task.evaluate(examples, predictions)
        results[name] = EvaluationResult(
            metrics=metrics,
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
    """Writes one JSON line for each example: `inputs`, `targets` and `prediction`.

    The file appears complete or not at all.

    Args:
        path: Where to; its folders are made.
        examples: The examples.
        predictions: What the model wrote for each.
    """
    rows = (
        {"inputs": example.inputs, "targets": example.targets, "prediction": prediction}
        for example, prediction in zip(examples, predictions, strict=True)
    )
    write_atomic(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
