"""A written report, and what of it goes to the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lowland.report.comparison import Comparison
from lowland.report.examples import AnsweredSet
from lowland.report.figures import Diagrams
from lowland.report.formats import Table, plain, to_rich


@dataclass(frozen=True, kw_only=True)
class Report:
    """A written report."""

    comparison: Comparison
    headline: str  # the result in one sentence
    elsewhere: tuple[str, ...]  # the result under each other selection
    scores: tuple[Table, ...]  # one for each selection that is available; the first gives the headline
    recommended: str | None  # the arm to use; `None` before anything is scored
    answer: tuple[str, ...]  # what was compared, the score, the rest, what to do; empty for a single arm
    beyond: tuple[Table, ...]  # what else was measured: other examples of this kind, classes, outcomes
    sam: Table  # what SAM did; without rows where no run has logged it
    cost: Table  # training time
    bins: Diagrams
    examples: tuple[AnsweredSet, ...]  # the evaluation sets whose predictions tell more than their score
    caveats: tuple[str, ...]  # what a reader must know before quoting a number
    directory: Path  # where it was written
    figures: tuple[Path, ...]  # empty when there is nothing to draw or matplotlib is missing

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables that have files of their own."""
        return (*self.scores, *self.beyond, *([self.sam] if self.sam.rows else []), self.cost)

    def print(self, console: Console) -> None:
        """Prints the headline, its score table, other selections, caveats, files and the answer."""
        print_lines(console, [self.headline], "bold")
        for table in self.scores[:1]:
            print_table(console, table)
        print_lines(console, self.elsewhere)
        print_lines(console, [f"* {caveat}" for caveat in self.caveats], "yellow")
        console.print(Text(f"Report: {self.directory / 'report.html'} (or report.md)"), soft_wrap=True)
        print_lines(console, self.answer, "bold")


@dataclass(frozen=True, kw_only=True)
class Written:
    """Tables and figures that were written together, and a page of Markdown that shows them all."""

    tables: tuple[Table, ...]
    page: Path
    figures: tuple[Path, ...]
    notes: tuple[str, ...]  # what a reader must know, such as why there are no figures

    def print(self, console: Console) -> None:
        """Prints the tables and where everything is."""
        for table in self.tables:
            print_table(console, table)
        print_lines(console, [f"* {note}" for note in self.notes], "yellow")
        for kind, file in (("Report", self.page), *(("Figure", figure) for figure in self.figures)):
            console.print(Text(f"{kind}: {file}"), soft_wrap=True)


def print_lines(console: Console, lines: Iterable[str], style: str = "") -> None:
    """Prints lines as they are, whatever they hold."""
    for line in lines:
        console.print(Text(plain(line), style=style), crop=False)


def print_table(console: Console, table: Table) -> None:
    """Prints a table and its notes."""
    console.print(to_rich(table, console.width), crop=False)
    print_lines(console, table.notes, "dim")
