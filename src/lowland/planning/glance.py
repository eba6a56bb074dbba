"""What a plan shows of the data: classes with counts, and one example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lowland.tasks.base import Example, Task
from lowland.tasks.custom import CustomTask

MOST_CLASSES, MOST_TASKS, MOST_SHOWN = 12, 3, 120
"""Classes that are listed, of how many tasks; characters of an input that are shown."""


def glance(tasks: Mapping[str, Task], train: Mapping[str, Sequence[Example]]) -> tuple[tuple[str, str], ...]:
    """Shows the classes of the first tasks that have some, with their counts, and one example."""
    lines = []
    for name, examples in list(train.items())[:MOST_TASKS]:
        if tasks[name].labels(examples):
            before = f"{name}: " if len(train) > 1 else ""
            lines.append(("classes", before + _classes(tasks[name], examples)))
    for examples in list(train.values())[:1]:
        inputs, targets = (
            repr(text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 4]} ...")
            for text in (examples[0].inputs, examples[0].targets)
        )
        lines.append(("an example", f"{inputs} -> {targets}"))
    return tuple(lines)


def _classes(task: Task, examples: Sequence[Example]) -> str:
    counts = Counter(example.targets for example in examples).most_common()
    if len(counts) > MOST_CLASSES:
        text = f"{len(counts)}, of {counts[-1][1]:,} to {counts[0][1]:,} examples"
    else:
        text = ", ".join(f"{_bare(label)} {number:,}" for label, number in counts)
    if isinstance(task, CustomTask) and task.domain is not None:
        missing = [label for label in task.domain.classes if label not in dict(counts)]
        if missing:
            text += f"; never in training: {', '.join(map(_bare, missing[:MOST_CLASSES]))}"
        if any(metric.name == "f1" for metric in task.scores):
            text += f"; f1 is of {_bare(task.domain.positive)}"
    return text


def _bare(label: str) -> str:
    """Writes a label, in quotes where its ends would not be seen."""
    return label if label.isprintable() and label == label.strip() and "," not in label else repr(label)
