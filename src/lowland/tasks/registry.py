"""The tasks by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from lowland.errors import unknown_name
from lowland.tasks.base import Task


@cache
def _tasks() -> Mapping[str, Task]:
    # Imported when the names are needed; none reads a file before `load`.
    from lowland.tasks import closed_book, facts, glue, superglue, tydiqa

    benchmarks = (glue, superglue, closed_book, tydiqa, facts)
    return {task.name: task for benchmark in benchmarks for task in benchmark.TASKS}


def get_task(name: str) -> Task:
    """Looks up a task.

    Raises:
        UserError: If the name is unknown; the message names the nearest ones.
    """
    if name not in _tasks():
        raise unknown_name("task", name, _tasks())
    return _tasks()[name]


def task_names() -> tuple[str, ...]:
    """Names of all tasks, in the order in which they are listed."""
    return tuple(_tasks())
