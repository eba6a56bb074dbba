"""Mixtures: named groups of tasks that are trained together, in proportion to their numbers of examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lowland.errors import unknown_name
from lowland.metrics import Limit
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.registry import get_task, task_names


class TrainingOnly(Task):
    """A task that a mixture trains on and does not evaluate, as T5 does with DPR beside WSC.

    Attributes:
        task: The task itself.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.name = task.name
        self.description = task.description
        self.metrics = task.metrics
        self.input_length = task.input_length
        self.target_length = task.target_length
        self.sample_row = task.sample_row
        self.drops_rows = task.drops_rows

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes one row as text."""
        return self.task.examples(row, split)

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the labels."""
        return self.task.labels(examples)

    def limits(self, examples: Sequence[Example]) -> list[Limit]:
        """Says what scores of these examples cannot tell."""
        return self.task.limits(examples)

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores raw model outputs."""
        return self.task.score(targets, predictions, ids, answers, labels)

    def load(self, source: Source) -> TaskData:
        """Reads the training examples."""
        return replace(self.task.load(source), evaluation={})


def _glue() -> list[Task]:
    # WNLI is left out, as in T5: its training and development sets contradict each other.
    names = ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte")
    return [get_task(f"glue/{name}") for name in names]


def _superglue() -> list[Task]:
    names = ("wsc", "boolq", "cb", "copa", "multirc", "record", "rte", "wic")
    return [TrainingOnly(get_task("dpr")), *(get_task(f"superglue/{name}") for name in names)]


def _all_of(prefix: str) -> list[Task]:
    return [get_task(name) for name in task_names() if name.startswith(prefix)]


_MIXTURES: dict[str, Callable[[], list[Task]]] = {
    "glue": _glue,
    "superglue": _superglue,
    "cbqa": lambda: _all_of("cbqa/"),
    "tydiqa": lambda: _all_of("tydiqa/"),
    "facts": lambda: _all_of("facts/"),
}


def mixture_names() -> tuple[str, ...]:
    """Names of all mixtures, in the order in which they are listed."""
    return tuple(_MIXTURES)


def resolve(names: Sequence[str]) -> list[Task]:
    """Looks up tasks and mixtures.

    Args:
        names: Names of tasks and mixtures. A task that is named twice is taken once; one that is named
            by itself is evaluated even where a mixture only trains on it.

    Returns:
        The tasks, in the order of the names.

    Raises:
        UserError: If a name is unknown; the message names the nearest ones.
    """
    tasks: dict[str, Task] = {}
    for name in names:
        if name in _MIXTURES:
            for task in _MIXTURES[name]():
                tasks.setdefault(task.name, task)
        elif name in task_names():
            tasks[name] = get_task(name)
        else:
            raise unknown_name("task or mixture", name, (*_MIXTURES, *task_names()))
    return list(tasks.values())


def rates(counts: Mapping[str, int], cap: int | None = None, temperature: float = 1.0) -> dict[str, float]:
    """Computes how often each task is drawn.

    Args:
        counts: Task -> number of training examples. A task without any is never drawn.
        cap: Examples beyond this number do not count.
        temperature: 1 draws in proportion to the numbers, as the paper does; larger values make the
            rates more alike.

    Returns:
        Task -> rate; the rates sum to 1.

    Source:
        `rate_num_examples` of the T5 library: min(count, cap) ** (1 / temperature).
    """
    if cap is not None and cap < 1:
        raise ValueError(f"Invalid {cap=}. Must be >= 1.")
    if not temperature > 0:
        raise ValueError(f"Invalid {temperature=}. Must be > 0.")
    if any(count < 0 for count in counts.values()) or not any(counts.values()):
        raise ValueError(f"Invalid {counts=}. Must be >= 0, and one of them > 0.")
    limited = {name: count if cap is None else min(count, cap) for name, count in counts.items()}
    # Divided by the largest first, so that a small temperature does not overflow.
    largest = max(limited.values())
    weights = {name: (count / largest) ** (1 / temperature) for name, count in limited.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
