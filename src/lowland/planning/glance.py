"""What a user wants to see of the data before anything is trained: classes with counts, and one example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lowland.tasks.base import Example, Task, TaskData
from lowland.tasks.custom import CustomTask

MOST_CLASSES = 12
"""Classes that are listed; of more, the numbers alone are told."""

MOST_TASKS = 3
"""Tasks whose classes are listed."""

MOST_SHOWN = 120
"""Characters of an input that are shown."""


def glance(tasks: Mapping[str, Task], train: Mapping[str, Sequence[Example]]) -> tuple[tuple[str, str], ...]:
    """Writes lines on the training examples.

    Args:
        tasks: Task name -> task.
        train: Task name -> its training examples.

    Returns:
        Pairs of a topic and a text: the classes of the first tasks that have some, and one example.
    """
    lines = []
    for name, examples in list(train.items())[:MOST_TASKS]:
        if tasks[name].labels(examples):
            before = f"{name}: " if len(train) > 1 else ""
            lines.append(("classes", before + _classes(tasks[name], examples)))
    for examples in list(train.values())[:1]:
        first = examples[0]
        lines.append(("an example", f"{_shown(first.inputs)} -> {_shown(first.targets)}"))
    return tuple(lines)


def most_tokens(limit: int, data: TaskData | None, field: str) -> int:
    """Gives the most tokens that a text can have, whatever the vocabulary: no more than its bytes and EOS.

    Args:
        limit: The length at which texts are cut.
        data: The examples; `None` where they are not known.
        field: `inputs` or `targets`.
    """
    if data is None:
        return limit
    examples = [*data.train, *(example for examples in data.evaluation.values() for example in examples)]
    return min(limit, 1 + max(len(getattr(example, field).encode()) for example in examples))


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


def _shown(text: str) -> str:
    return repr(text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 4]} ...")
