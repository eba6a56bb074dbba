"""`lowland recipes`: the experiments of the paper, ready to run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lowland.cli.console import console, make_table
from lowland.report.formats import plain

if TYPE_CHECKING:
    from rich.table import Table

    from lowland.paper.recipes import Recipe

HELP = "list the paper's experiments; show one whole"
USAGE = "[NAME]"
DESCRIPTION = """\
Lists the presets that reproduce the paper, each with its table or figure. With
NAME: what it sets, the commands that run, plan and rehearse it, and the scores
that the paper prints for it."""
EPILOG = """\
examples:
  lowland recipes
  lowland recipes paper-superglue-base
  lowland compare superglue --preset paper-base --plan
"""

SHOWN = (
    "data.fraction",
    "sam.rho",
    "sam.ascent",
    "sam.m",
    "train.batch_size",
    "train.optimizer",
    "train.learning_rate",
    "train.dropout",
)
"""Settings of the paper that are shown even where they are the defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    recipes = parser.add_argument_group("recipes")
    recipes.add_argument("name", nargs="?", metavar="NAME", help="a preset")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    from lowland.paper.recipes import preset_names, read_recipe

    name = getattr(arguments, "name", None)
    if name is None:
        _list([read_recipe(name) for name in preset_names()])
    else:
        _show(read_recipe(name))
    return 0


def _list(recipes: list[Recipe]) -> None:
    table = make_table("Presets", "Name", "Reproduces", "What it is")
    table.columns[0].no_wrap = True
    for recipe in sorted(recipes, key=_place):
        table.add_row(*map(Text, (recipe.name, recipe.reproduces, recipe.description)))
    console.print(table)
    _say("\nMore about one: lowland recipes NAME. How presets are written: docs/recipes.md")


def _place(recipe: Recipe) -> tuple[object, ...]:
    """In the order of the paper: tables, figures, the rest; and small models first."""
    size = next((n for n, word in enumerate(("small", "base", "large", "xl")) if word in recipe.name), 9)
    kind = recipe.name.replace("-small", "").replace("-base", "").replace("-large", "").replace("-xl", "")
    return (recipe.tables or (99,), recipe.figures or (99,), kind, size, recipe.name)


def _show(recipe: Recipe) -> None:
    console.print(Text(recipe.name, style="bold"))
    console.print(Text(recipe.description))
    table = make_table("")
    table.title, table.show_header = None, False
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    facts = [("reproduces", recipe.reproduces), ("extends", recipe.extends or "")]
    facts += [(name, json.dumps(value)) for name, value in flatten(recipe.settings).items()]
    if recipe.complete:
        whole = flatten(recipe.config().to_dict())
        facts += [(name, f"{json.dumps(whole[name])} (default)") for name in SHOWN if name not in dict(facts)]
    facts += [
        (f"sweep {name}", ", ".join(json.dumps(value) for value in values))
        for name, values in recipe.sweep.items()
    ]
    if recipe.complete:
        facts.append(("lengths", _lengths(recipe)))
    for name, text in facts:
        if text:
            table.add_row(Text(name), Text(plain(text)))
    console.print(table)
    _say("\nThe rest is as by default: lowland compare --help")
    _say(f"Run it:      {recipe.command('--hub')}")
    if not recipe.sweep:
        _say(f"Plan it:     {recipe.command('--plan')}")
    rehearsal = recipe.command("--model", "embedded", "--data-dir", "DIR", "--scale", "0.001")
    _say(f"Rehearse it: {rehearsal}")
    for number in recipe.tables:
        printed = _printed(recipe, number)
        if printed.row_count:
            console.print()
            console.print(printed)


def _lengths(recipe: Recipe) -> str:
    from lowland.runs.examples import load_tasks

    settings = recipe.config()
    tasks = load_tasks(settings.data)
    inputs = settings.train.input_length or max(task.input_length for task in tasks)
    targets = settings.train.target_length or max(task.target_length for task in tasks)
    return f"{inputs} tokens of input, {targets} of target"


def _printed(recipe: Recipe, number: int) -> Table:
    """Makes a table of what the paper prints: a line for each column, a column for each row."""
    rows = [row for row in recipe.printed() if row.table == number]

    def title(row: Any) -> str:
        if row.swept is not None:
            return f"{row.swept.removeprefix('sam.')} {row.swept_value:g}"
        return "Baseline" if row.sam_rho is None else f"SAM {row.sam_rho:g}"

    table = make_table(f"The paper's Table {number}, {recipe.model}", "Task", *map(title, rows))
    for column in table.columns[1:]:
        column.justify = "right"
    names = dict.fromkeys(
        (task, metric)
        for row in rows
        for task, metrics in row.scores.items()
        for metric in metrics
        if not recipe.columns or task in recipe.columns
    )
    for task, metric in names:
        figures = (f"{row.scores[task][metric]:.1f}" for row in rows)
        table.add_row(*map(Text, (task if task == metric else f"{task} {metric}", *figures)))
    return table


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Writes nested settings as dotted name -> value."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _say(text: str) -> None:
    console.print(Text(text), soft_wrap=True)
