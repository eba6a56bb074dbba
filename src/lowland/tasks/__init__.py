"""Tasks: rows of a data set become input and target texts, and predictions become scores."""

from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.custom import CustomTask
from lowland.tasks.mixture import mixture_names, rates, resolve
from lowland.tasks.noise import flip_labels
from lowland.tasks.registry import get_task, task_names
from lowland.tasks.subsample import class_coverage, hold_out, subsample
from lowland.tasks.template import Template

__all__ = [
    "CustomTask",
    "Example",
    "Row",
    "Source",
    "Task",
    "TaskData",
    "Template",
    "class_coverage",
    "flip_labels",
    "get_task",
    "hold_out",
    "mixture_names",
    "rates",
    "resolve",
    "subsample",
    "task_names",
]
