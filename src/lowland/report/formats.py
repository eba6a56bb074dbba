"""A table of texts, written as Markdown, LaTeX, CSV or for the terminal.

Names come from other people's data, and may hold `|`, `$`, `=cmd()`, `[red]` or a control character: every
cell is escaped for the format that it goes into.
"""

from __future__ import annotations

import csv
import io
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

Value = str | int | float | None

LEAST_WORD = 10  # letters of a word that a narrow terminal shows unbroken

_LATEX = {
    **{character: f"\\{character}" for character in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    # Either of them after the end of a row would be read as an argument of it.
    "[": "{[}",
    "*": "{*}",
}


Row = tuple[tuple[str, ...], Mapping[str, Value]]  # a row's cells, and its record


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for readers, with the same facts in full precision for programs."""

    name: str  # the stem of its files
    title: str
    columns: tuple[str, ...]  # the heads
    align: str  # one letter for each column: `l` for words, `r` for numbers
    rows: tuple[tuple[str, ...], ...]  # the cells as a reader sees them
    notes: tuple[str, ...] = ()  # sentences below the table
    records: tuple[Mapping[str, Value], ...]  # the rows for programs: column -> value


def make_table(
    name: str, title: str, heads: str | Sequence[str], rows: Sequence[Row], notes: Sequence[str] = ()
) -> Table:
    """Makes a table of rows that each have a record; a `>` before a head stands for a column of numbers."""
    columns = heads.split(", ") if isinstance(heads, str) else heads
    return Table(
        name=name,
        title=title,
        columns=tuple(head.removeprefix(">") for head in columns),
        align="".join("r" if head.startswith(">") else "l" for head in columns),
        rows=tuple(cells for cells, _ in rows),
        notes=tuple(notes),
        records=tuple(record for _, record in rows),
    )


def plain(text: str) -> str:
    """Returns text on one line, free of characters that steer a terminal or a page."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") else c for c in text)
    return " ".join(kept.split())


def escape_markdown(text: str) -> str:
    """Returns text that Markdown shows as it is, also in a cell of a table."""
    escaped = re.sub(r"([\\`*\[\]<>|~$&!#])", r"\\\1", plain(text))
    # Inside a word an underscore is no mark-up, and names stay legible without the backslash.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)


def escape_latex(text: str) -> str:
    """Returns text that LaTeX typesets as it is."""
    return "".join(_LATEX.get(character, character) for character in plain(text))


def escape_csv(value: Value) -> str:
    """Returns a number in full, or a text that a spreadsheet does not take for a formula."""
    if not isinstance(value, str):
        return "" if value is None or value != value else repr(value)
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else text


def to_markdown(table: Table) -> str:
    """Writes a table for Markdown, its title in bold above it and its notes below."""
    rule = ["---:" if letter == "r" else "---" for letter in table.align]
    body = [[escape_markdown(cell) for cell in row] for row in (table.columns, *table.rows)]
    lines = [f"| {' | '.join(row)} |" for row in (body[0], rule, *body[1:])]
    notes = [line for note in table.notes for line in ("", escape_markdown(note))]
    title = [f"**{escape_markdown(table.title)}**", ""] if table.title else []
    return "\n".join([*title, *lines, *notes]) + "\n"


def to_latex(table: Table) -> str:
    """Writes a table for LaTeX; the document needs the package booktabs."""
    # A number's hyphen is a minus sign.
    cells = (
        [
            re.sub(r"(?<![\w.])-(?=\d)", "$-$", escape_latex(cell)) if letter == "r" else escape_latex(cell)
            for cell, letter in zip(row, table.align, strict=True)
        ]
        for row in (table.columns, *table.rows)
    )
    head, *body = (" & ".join(row) + r" \\" for row in cells)
    caption = " ".join(escape_latex(sentence) for sentence in (f"{table.title}.", *table.notes))
    lines = [
        rf"\begin{{table}}\centering\caption{{{caption}}}",
        rf"\begin{{tabular}}{{{table.align}}}\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule\end{tabular}\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Writes a table's records as CSV with a head; numbers in full, nothing where there is none."""
    columns = list(dict.fromkeys(column for record in table.records for column in record))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(escape_csv, columns))
    writer.writerows([escape_csv(record.get(column)) for column in columns] for record in table.records)
    return file.getvalue()


def print_table(console: Console, table: Table) -> None:
    """Prints a table as text, not mark-up; words are broken where the terminal is narrow, numbers never."""
    made = RichTable(title=Text(plain(table.title)), box=box.SIMPLE_HEAD, title_justify="left", padding=0)
    shown = [index for index, column in enumerate(table.columns) if column != "Seeds"]
    needed = len(shown) + 1
    for index in shown:
        number = table.align[index] == "r"
        head = plain(table.columns[index])
        longest = max((cell_len(plain(row[index])) for row in table.rows), default=0)
        least = max(longest if number else min(longest, LEAST_WORD), *map(cell_len, head.split()))
        made.add_column(
            Text(textwrap.fill(head, least) if number else head),  # as wide as its numbers, its head broken
            justify="right" if number else "left",
            no_wrap=number,
            min_width=least,
            overflow="fold",
        )
        needed += least
    for row in table.rows:
        made.add_row(*(Text(plain(row[index])) for index in shown))
    made.width = needed if needed > console.width else None
    console.print(made, crop=False)
    print_lines(console, table.notes, "dim")


def print_lines(console: Console, lines: Iterable[str], style: str = "") -> None:
    """Prints lines as they are, whatever they hold."""
    for line in lines:
        console.print(Text(plain(line), style=style), crop=False)
