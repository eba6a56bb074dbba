"""The tasks by name, and mixtures: groups of tasks that are trained together, in proportion to sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from lowland.errors import UserError, unknown_name
from lowland.tasks.base import Task

_MIXTURES = {
    # WNLI is left out, as in T5: its training and development sets contradict each other.
    "glue": "glue/cola glue/sst2 glue/mrpc glue/qqp glue/stsb glue/mnli glue/qnli glue/rte",
    "superglue": (
        "dpr superglue/wsc superglue/boolq superglue/cb superglue/copa superglue/multirc superglue/record"
        " superglue/rte superglue/wic"
    ),
    "cbqa": "cbqa/natural_questions cbqa/web_questions cbqa/trivia_qa",
    "tydiqa": "tydiqa/goldp",
    "facts": "facts/capitals facts/currencies facts/languages facts/continents facts/elements facts/states",
}


@cache
def _tasks() -> Mapping[str, Task]:
    from lowland.tasks import benchmarks, facts  # only when names are needed

    return {task.name: task for task in (*benchmarks.tasks(), *facts.TASKS)}


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


def mixture_names() -> tuple[str, ...]:
    """Names of all mixtures, in the order in which they are listed."""
    return tuple(_MIXTURES)


def resolve(names: Sequence[str]) -> list[Task]:
    """Looks up tasks and mixtures.

    A task that is named twice is taken once. DPR is evaluated only where it is named by itself: T5 trains on
    it beside WSC.

    Raises:
        UserError: If a name is unknown; the message names the nearest ones.
    """
    tasks: dict[str, Task] = {}
    for name in names:
        if name in _MIXTURES:
            for member in map(get_task, _MIXTURES[name].split()):
                member = replace(member, evaluated=False) if member.name == "dpr" else member
                tasks.setdefault(member.name, member)
        elif name in _tasks():
            tasks[name] = get_task(name)
        else:
            raise unknown_name("task or mixture", name, (*_MIXTURES, *_tasks()))
    return list(tasks.values())


def rates(counts: Mapping[str, int], cap: int | None = None, temperature: float = 1.0) -> dict[str, float]:
    """Computes how often each task is drawn: rates that sum to 1.

    Args:
        counts: Task -> number of training examples. A task without any is never drawn.
        cap: Examples beyond this number do not count.
        temperature: 1 draws in proportion to the numbers, as the paper does; larger values make the
            rates more alike.

    Raises:
        UserError: If no task has any.

    Source:
        `rate_num_examples` of the T5 library: min(count, cap) ** (1 / temperature).
    """
    if not any(counts.values()):
        raise UserError(
            f"There is nothing to train on: {', '.join(counts) or 'such tasks'} have no examples."
        )
    limited = {name: count if cap is None else min(count, cap) for name, count in counts.items()}
    # Divided by the largest first, so that a small temperature does not overflow.
    largest = max(limited.values())
    weights = {name: (count / largest) ** (1 / temperature) for name, count in limited.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
