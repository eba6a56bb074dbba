"""The terminal: results go to standard output, notes and progress to standard error."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lowland.report.formats import plain

# Of the processes that torchrun starts, the first one speaks.
console = Console(soft_wrap=False, quiet=os.environ.get("RANK", "0") != "0")
errors = Console(stderr=True)


def note(sentence: str) -> None:
    """Prints a sentence to standard error."""
    errors.print(Text(plain(sentence)), soft_wrap=True)


def say(sentence: str, style: str = "") -> None:
    """Prints a sentence to standard output, as one line."""
    console.print(Text(sentence, style=style), soft_wrap=True)


def make_table(title: str, *columns: str) -> Table:
    """Makes an empty table in the style of all commands; cells are added as `Text`, never as mark-up."""
    name = Text(title, style="bold")
    table = Table(title=name, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.show_edge = False
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_facts(title: str, facts: Iterable[tuple[str, str]], description: str = "") -> None:
    """Prints named lines under a title; what is too long goes on below itself."""
    say(f"{title}\n{description}".rstrip())
    table = make_table("", "", "")
    table.title, table.show_header = None, False
    table.columns[0].no_wrap, table.columns[0].style = True, "dim"
    for name, text in facts:
        table.add_row(Text(name), Text(plain(text)))
    console.print(table)


def quiet_libraries() -> None:
    """Keeps notes of other libraries off the terminal; their errors still come."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
