"""Tasks: rows of a data set become input and target texts, and predictions become scores.

A new task is an entry of `benchmarks.toml`.
"""

from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.custom import CustomTask
from lowland.tasks.fields import Template
from lowland.tasks.registry import get_task, mixture_names, rates, resolve, task_names
from lowland.tasks.subsample import flip_labels, hold_out, subsample

__all__ = [
    "CustomTask",
    "Example",
    "Row",
    "Source",
    "Task",
    "TaskData",
    "Template",
    "flip_labels",
    "get_task",
    "hold_out",
    "mixture_names",
    "rates",
    "resolve",
    "subsample",
    "task_names",
]
