"""List tasks, mixtures and the paper's recipes; show one of them.

usage: lowland tasks [NAME] [--recipes]

Lists tasks, and mixtures of tasks that are trained together in proportion to
their sizes. With --recipes: the presets that reproduce the paper, each with its
table or figure. With NAME: one task, mixture or recipe in full, with an example
or the command that runs it.

Examples:
  lowland tasks glue/sst2
  lowland tasks paper-superglue-base
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from lowland.cli.console import console, make_table, print_facts, say
from lowland.config.arms import flatten
from lowland.tasks.base import Source, Task
from lowland.tasks.registry import get_task, mixture_names, resolve, task_names

if TYPE_CHECKING:
    from lowland.paper.recipes import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument("name", nargs="?", metavar="NAME", help="a task, a mixture or a recipe")
    tasks.add_argument("--recipes", action="store_true", help="list the paper's recipes instead")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from lowland.paper.recipes import preset_names, read_recipe

    name = getattr(arguments, "name", None)
    if name in preset_names() or (name is not None and "recipes" in arguments):
        _show_recipe(read_recipe(name))
    elif "recipes" in arguments:
        _list_recipes([read_recipe(name) for name in preset_names()])
    elif name is None:
        _list_all()
    elif name in mixture_names():
        _print_tasks(f"{name}: a mixture, drawn in proportion to the numbers of examples", resolve([name]))
    else:
        _show_task(get_task(name))
    return 0


def _list_all() -> None:
    tasks = [get_task(name) for name in task_names()]
    _print_tasks("Carried by the package", [task for task in tasks if task.carried is not None])
    title = "\nWith official files (--data-dir DIR) or the Hugging Face hub (--hub)"
    _print_tasks(title, [task for task in tasks if task.carried is None])
    mixtures = make_table("\nMixtures", "Name", "Tasks")
    for name in mixture_names():
        members = ", ".join(task.name.removeprefix(f"{name}/") for task in resolve([name]))
        mixtures.add_row(Text(name), Text(members))
    console.print(mixtures)
    say("\nMore about one: lowland tasks NAME. Your own data: lowland compare --help")


def _print_tasks(title: str, tasks: Iterable[Task]) -> None:
    table = make_table(title, "Task", "What it asks", "Metrics")
    table.columns[0].no_wrap = True
    table.columns[2].max_width = 18
    for task in tasks:
        scored = ", ".join(task.metrics) if task.evaluated else "not evaluated"
        table.add_row(*map(Text, (task.name, task.description, scored)))
    console.print(table)


def _show_task(task: Task) -> None:
    lengths = f"{task.input_length} tokens of input, {task.target_length} of target, EOS included"
    facts = [("metrics", ", ".join(task.metrics)), ("lengths", lengths)]
    command = f"compare {task.name}"
    if (data := task.data) is None:
        facts.append(("data", "the package carries it"))
        examples = task.load(Source()).train
    else:
        # The languages of TyDiQA are read from the same files.
        files = dict.fromkeys([*([data.train] if data.train else []), *data.evaluation.values()])
        names = (f"DIR/{data.folders[0]}/{split.patterns[0]}" for split in files)
        facts.append(("files", ", ".join(names)))
        facts.append(("on the hub", ", configuration ".join(filter(None, data.hub))))
        examples = task.examples(task.sample_row or {})
        command = (command if data.train else f"eval {task.name} --model DIR") + " --data-dir DIR"
    for example in examples[:1]:
        facts += [("input", repr(example.inputs)), ("target", repr(example.targets))]
    print_facts(task.name, facts, task.description)
    say(f"\nTry: lowland {command}")


def _list_recipes(recipes: list[Recipe]) -> None:
    table = make_table("Recipes", "Name", "Reproduces", "What it is")
    table.columns[0].no_wrap = True
    # In the order of the paper: tables, figures, the rest.
    for recipe in sorted(recipes, key=lambda own: (own.tables or (99,), own.figures or (99,), own.name)):
        table.add_row(*map(Text, (recipe.name, recipe.reproduces, recipe.description)))
    console.print(table)
    say("\nMore about one: lowland tasks NAME. Run one: lowland compare --preset NAME")


def _show_recipe(recipe: Recipe) -> None:
    facts = [("reproduces", recipe.reproduces)]
    facts += [(name, json.dumps(value)) for name, value in flatten(recipe.settings).items()]
    facts += [(f"grid {name}", ", ".join(map(json.dumps, values))) for name, values in recipe.grid.items()]
    print_facts(recipe.name, facts, recipe.description)
    say("\nThe rest is as by default: lowland compare --help-all")
    say(f"Run it: {recipe.command}")
