"""`lowland tasks`: what there is to train on."""

from __future__ import annotations

import argparse
import json

from rich.padding import Padding
from rich.text import Text

from lowland.cli.console import console, make_table
from lowland.report.formats import plain
from lowland.tasks import Example, Source, Task, get_task, mixture_names, resolve, task_names
from lowland.tasks.base import DataSet, Split

HELP = "list tasks and mixtures; show an example of a task"
USAGE = "[NAME]"
DESCRIPTION = """\
Lists what there is to train on: tasks, and mixtures of tasks that are trained
together in proportion to their numbers of examples. With NAME: its metrics and
lengths, where its files are looked for, and an example of input and target."""
EPILOG = """\
examples:
  lowland tasks
  lowland tasks glue/sst2
  lowland doctor --data-dir ~/data     which of the files are there
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument("name", nargs="?", metavar="NAME", help="a task or a mixture")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    name = getattr(arguments, "name", None)
    if name is None:
        _list_all()
    elif name in mixture_names():
        _show_mixture(name)
    else:
        (task,) = resolve([name])
        _show_task(task)
    return 0


def is_carried(task: Task) -> bool:
    """Says whether the package carries the task's data."""
    return task.carried is not None


def data_set(task: Task) -> DataSet | None:
    """Returns where the files of a task are looked for; `None` for one that needs none."""
    return task.data


def _list_all() -> None:
    tasks = [get_task(name) for name in task_names()]
    for title, shown in (
        ("Carried by the package", [task for task in tasks if is_carried(task)]),
        (
            "\nWith official files (--data-dir DIR) or the Hugging Face hub (--hub)",
            [task for task in tasks if not is_carried(task)],
        ),
    ):
        table = make_table(title, "Task", "What it asks", "Metrics")
        table.columns[0].no_wrap = True
        table.columns[2].max_width = 18
        for task in shown:
            table.add_row(*map(Text, (task.name, task.description, ", ".join(task.metrics))))
        console.print(table)
    mixtures = make_table("\nMixtures", "Name", "Tasks")
    for name in mixture_names():
        members = ", ".join(task.name.removeprefix(f"{name}/") for task in resolve([name]))
        mixtures.add_row(Text(name), Text(members))
    console.print(mixtures)
    _say("\nMore about one: lowland tasks NAME. Your own data: lowland compare --help")


def _show_mixture(name: str) -> None:
    tasks = resolve([name])
    table = make_table(f"{name}: a mixture of {len(tasks)} tasks", "Task", "What it asks", "Metrics")
    table.columns[0].no_wrap = True
    for task in tasks:
        scored = ", ".join(task.metrics) if task.evaluated else "not evaluated"
        table.add_row(*map(Text, (task.name, task.description, scored)))
    console.print(table)
    _say("\nTasks are drawn in proportion to their numbers of training examples.")


def _show_task(task: Task) -> None:
    console.print(Text(task.name, style="bold"))
    console.print(Text(task.description))
    _field("metrics", ", ".join(task.metrics))
    _field("lengths", f"{task.input_length} tokens of input, {task.target_length} of target, EOS included")
    _field("part of", ", ".join(name for name in mixture_names() if _holds(name, task)) or "no mixture")
    data = data_set(task)
    if is_carried(task):
        _field("data", "the package carries it")
    elif data is not None:
        _field("training", _files(data, data.train) if data.train else "none: it is for evaluation only")
        for name, split in data.evaluation.items():
            _field("evaluation", (f"{name}: " if len(data.evaluation) > 1 else "") + _files(data, split))
        name, configuration = data.hub
        _field("on the hub", name + (f", configuration {configuration}" if configuration else ""))
    row, example = _sample(task)
    console.print()
    if row is not None:
        _field("a row", row)
    if example is not None:
        _field("input", repr(example.inputs))
        _field("target", repr(example.targets))
        if example.answers is not None and len(example.answers) > 1:
            _field("also right", ", ".join(map(repr, example.answers[1:])))
    where = "" if is_carried(task) else " --data-dir DIR"
    verb = "compare" if is_carried(task) or (data is not None and data.train) else "eval"
    model = " --model DIR" if verb == "eval" else ""
    _say(f"\nTry: lowland {verb} {task.name}{model}{where}")


def _sample(task: Task) -> tuple[str | None, Example | None]:
    """Returns a made-up row with its example, or the first example of a task that needs no file."""
    if task.sample_row is not None:
        examples = task.examples(task.sample_row)
        row = json.dumps(task.sample_row, ensure_ascii=False)
        return row, examples[0] if examples else None
    return None, task.load(Source()).train[0] if is_carried(task) else None


def _holds(mixture: str, task: Task) -> bool:
    return any(member.name == task.name for member in resolve([mixture]))


def _files(data: DataSet, split: Split) -> str:
    published = f" ({split.published:,} examples)" if split.published else ""
    others = f", or {', '.join(split.patterns[1:])}" if len(split.patterns) > 1 else ""
    return f"DIR/{data.folders[0]}/{split.patterns[0]}{published}{others}"


def _field(name: str, text: str) -> None:
    """Prints a named line; what is too long goes on below itself."""
    table = make_table("")
    table.title = None
    table.show_header = False
    table.add_column(min_width=10, no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    table.add_row(Text(name), Text(plain(text)))
    console.print(Padding(table, (0, 0, 0, 2)))


def _say(text: str) -> None:
    console.print(Text(text))
