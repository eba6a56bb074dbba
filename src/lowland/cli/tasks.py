"""`lowland tasks`: what there is to train on, and the paper's experiments."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from lowland.cli.console import console, make_table
from lowland.config.arms import flatten
from lowland.report.formats import plain
from lowland.tasks import Example, Source, Task, get_task, mixture_names, resolve, task_names
from lowland.tasks.base import DataSet, Split

if TYPE_CHECKING:
    from lowland.paper.recipes import Recipe

HELP = "list tasks, mixtures and the paper's recipes; show one of them"
USAGE = "[NAME] [--recipes]"
DESCRIPTION = """\
Lists tasks, and mixtures of tasks that are trained together in proportion to
their sizes. With --recipes: the presets that reproduce the paper, each with its
table or figure. With NAME: one task, mixture or recipe in full, with an example
or the command that runs it."""
EPILOG = """\
examples:
  lowland tasks glue/sst2
  lowland tasks paper-superglue-base
  lowland doctor --data-dir ~/data     which of the files are there
"""

SHOWN = (
    *("data.fraction", "sam.rho", "sam.ascent", "sam.m", "train.batch_size", "train.optimizer"),
    *("train.learning_rate", "train.dropout"),
)
"""Settings of a recipe that are shown even where they are the defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument("name", nargs="?", metavar="NAME", help="a task, a mixture or a recipe")
    tasks.add_argument("--recipes", action="store_true", help="list the paper's recipes instead")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    from lowland.paper.recipes import preset_names, read_recipe

    name = getattr(arguments, "name", None)
    if name in preset_names() or (name is not None and "recipes" in arguments):
        _show_recipe(read_recipe(name))
    elif "recipes" in arguments:
        _list_recipes([read_recipe(name) for name in preset_names()])
    elif name is None:
        _list_all()
    elif name in mixture_names():
        _show_mixture(name)
    else:
        (task,) = resolve([name])
        _show_task(task)
    return 0


def _list_all() -> None:
    tasks = [get_task(name) for name in task_names()]
    for title, shown in (
        ("Carried by the package", [task for task in tasks if task.carried is not None]),
        (
            "\nWith official files (--data-dir DIR) or the Hugging Face hub (--hub)",
            [task for task in tasks if task.carried is None],
        ),
    ):
        _print_tasks(title, shown)
    mixtures = make_table("\nMixtures", "Name", "Tasks")
    for name in mixture_names():
        members = ", ".join(task.name.removeprefix(f"{name}/") for task in resolve([name]))
        mixtures.add_row(Text(name), Text(members))
    console.print(mixtures)
    _say("\nMore about one: lowland tasks NAME. Your own data: lowland compare --help")


def _print_tasks(title: str, tasks: Iterable[Task]) -> None:
    table = make_table(title, "Task", "What it asks", "Metrics")
    table.columns[0].no_wrap = True
    table.columns[2].max_width = 18
    for task in tasks:
        scored = ", ".join(task.metrics) if task.evaluated else "not evaluated"
        table.add_row(*map(Text, (task.name, task.description, scored)))
    console.print(table)


def _show_mixture(name: str) -> None:
    tasks = resolve([name])
    _print_tasks(f"{name}: a mixture of {len(tasks)} tasks", tasks)
    _say("\nTasks are drawn in proportion to their numbers of training examples.")


def _show_task(task: Task) -> None:
    lengths = f"{task.input_length} tokens of input, {task.target_length} of target, EOS included"
    part_of = ", ".join(name for name in mixture_names() if _holds(name, task)) or "no mixture"
    facts = [("metrics", ", ".join(task.metrics)), ("lengths", lengths), ("part of", part_of)]
    data = task.data
    if task.carried is not None:
        facts.append(("data", "the package carries it"))
    elif data is not None:
        facts.append(
            ("training", _files(data, data.train) if data.train else "none: it is for evaluation only")
        )
        for (name, split), *others in _by_files(data):
            named = f"{len(others) + 1} sets: " if others else f"{name}: " if len(data.evaluation) > 1 else ""
            facts.append(("evaluation", named + _files(data, split)))
        name, configuration = data.hub
        facts.append(("on the hub", name + (f", configuration {configuration}" if configuration else "")))
    row, example = _sample(task)
    facts += [("a row", row)] if row is not None else []
    if example is not None:
        facts += [("input", repr(example.inputs)), ("target", repr(example.targets))]
        if example.answers is not None and len(example.answers) > 1:
            facts.append(("also right", ", ".join(map(repr, example.answers[1:]))))
    _print_facts(task.name, task.description, facts)
    verb = "compare" if task.carried is not None or (data is not None and data.train) else "eval"
    model = " --model DIR" if verb == "eval" else ""
    where = "" if task.carried is not None else " --data-dir DIR"
    _say(f"\nTry: lowland {verb} {task.name}{model}{where}")


def _by_files(data: DataSet) -> Iterable[list[tuple[str, Split]]]:
    """Groups evaluation sets that are read from the same files (the languages of TyDiQA)."""
    groups: dict[tuple[str, ...], list[tuple[str, Split]]] = {}
    for name, split in data.evaluation.items():
        groups.setdefault(split.patterns, []).append((name, split))
    return groups.values()


def _sample(task: Task) -> tuple[str | None, Example | None]:
    """Returns a made-up row with its example, or the first example of a task that needs no file."""
    if task.sample_row is not None:
        examples = task.examples(task.sample_row)
        return json.dumps(task.sample_row, ensure_ascii=False), examples[0] if examples else None
    return None, task.load(Source()).train[0] if task.carried is not None else None


def _holds(mixture: str, task: Task) -> bool:
    return any(member.name == task.name for member in resolve([mixture]))


def _files(data: DataSet, split: Split) -> str:
    published = f" ({split.published:,} examples)" if split.published and not split.pick else ""
    others = f", or {', '.join(split.patterns[1:])}" if len(split.patterns) > 1 else ""
    return f"DIR/{data.folders[0]}/{split.patterns[0]}{published}{others}"


def _list_recipes(recipes: list[Recipe]) -> None:
    table = make_table("Recipes", "Name", "Reproduces", "What it is")
    table.columns[0].no_wrap = True
    for recipe in sorted(recipes, key=_place):
        table.add_row(*map(Text, (recipe.name, recipe.reproduces, recipe.description)))
    console.print(table)
    _say("\nMore about one: lowland tasks NAME. Run one: lowland compare --preset NAME")


def _place(recipe: Recipe) -> tuple[object, ...]:
    """In the order of the paper: tables, figures, the rest; and small models first."""
    sizes = ("small", "base", "large", "xl")
    size = next((n for n, word in enumerate(sizes) if word in recipe.name), len(sizes))
    kind = "".join(part for part in recipe.name.split("-") if part not in sizes)
    return (recipe.tables or (99,), recipe.figures or (99,), kind, size, recipe.name)


def _show_recipe(recipe: Recipe) -> None:
    facts = [("reproduces", recipe.reproduces), ("extends", recipe.extends or "")]
    facts += [(name, json.dumps(value)) for name, value in flatten(recipe.settings).items()]
    if recipe.complete:
        whole = flatten(recipe.config().to_dict())
        facts += [(name, f"{json.dumps(whole[name])} (default)") for name in SHOWN if name not in dict(facts)]
        facts.append(("lengths", _lengths(recipe)))
    facts += [(f"grid {name}", ", ".join(map(json.dumps, values))) for name, values in recipe.grid.items()]
    _print_facts(recipe.name, recipe.description, [(name, text) for name, text in facts if text])
    _say("\nThe rest is as by default: lowland compare --help-all")
    _say(f"Run it:      {recipe.command('--hub')}")
    _say(f"Plan it:     {recipe.command('--plan')}")
    rehearsal = recipe.command("--model", "embedded", "--data-dir", "DIR", "--scale", "0.001")
    _say(f"Rehearse it: {rehearsal}")


def _lengths(recipe: Recipe) -> str:
    from lowland.runs.examples import load_tasks

    settings = recipe.config()
    tasks = load_tasks(settings.data)
    inputs = settings.train.input_length or max(task.input_length for task in tasks)
    targets = settings.train.target_length or max(task.target_length for task in tasks)
    return f"{inputs} tokens of input, {targets} of target"


def _print_facts(title: str, description: str, facts: Iterable[tuple[str, str]]) -> None:
    """Prints named lines under a title; what is too long goes on below itself."""
    console.print(Text(title, style="bold"))
    console.print(Text(description))
    table = make_table("")
    table.title, table.show_header = None, False
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(Text(name), Text(plain(text)))
    console.print(table)


def _say(text: str) -> None:
    console.print(Text(text), soft_wrap=True)
