"""Scores of lists, as the T5 library's metrics take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowland.tasks.base import Example, Task


def score(
    task: Task,
    targets: Sequence[str] | Sequence[Sequence[str]],
    predictions: Sequence[str],
    ids: Sequence[Mapping[str, int]] | None = None,
    answers: Sequence[Sequence[str]] | None = None,
    labels: Sequence[int] | None = None,
) -> dict[str, float]:
    """Scores raw outputs against target strings, or against the right answers of each question."""
    if answers is None and not all(isinstance(target, str) for target in targets):
        answers = [tuple(target) for target in targets]
    examples = [
        Example(
            inputs="",
            targets=target if isinstance(target, str) else next(iter(target), ""),
            answers=None if answers is None else tuple(answers[number]),
            ids=None if ids is None else ids[number],
            label=None if labels is None else labels[number],
        )
        for number, target in enumerate(targets)
    ]
    return task.evaluate(examples, predictions) if examples else task.scorer([], predictions)
