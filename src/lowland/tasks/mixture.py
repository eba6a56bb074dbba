"""Mixtures: named groups of tasks that are trained together, in proportion to their numbers of examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lowland.errors import unknown_name
from lowland.tasks.base import Task
from lowland.tasks.registry import get_task, task_names

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
                tasks.setdefault(
                    member.name, replace(member, evaluated=False) if member.name == "dpr" else member
                )
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
