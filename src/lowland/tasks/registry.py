"""The tasks by name.

The modules of the benchmarks are imported when their names are needed; none reads a file before `load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from lowland.errors import unknown_name
from lowland.tasks.base import Task


def get_task(name: str) -> Task:
    """Looks up a task.

    Args:
        name: A name of `task_names()`, for example `glue/sst2`.

    Returns:
        The task.

    Raises:
        UserError: If the name is unknown; the message names the nearest ones.
    """
    tasks = _tasks()
    if name not in tasks:
        raise unknown_name("task", name, tasks)
    return tasks[name]


def task_names() -> tuple[str, ...]:
    """Names of all tasks, in the order in which they are listed."""
    return tuple(_tasks())


@cache
def _tasks() -> Mapping[str, Task]:
    from lowland.tasks import closed_book, facts, glue, superglue, tydiqa

    tasks: dict[str, Task] = {**glue.TASKS, **superglue.TASKS, **closed_book.TASKS, **tydiqa.TASKS}
    tasks |= {name: facts.build(name) for name in facts.FACTS_TASKS}
    return tasks
