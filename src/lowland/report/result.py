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
from lowland.report.headline import in_short


@dataclass(frozen=True, kw_only=True)
class Report:
    """A written report.

    Attributes:
        comparison: What it is about.
        headline: The result in one sentence.
        scores: A score table for each selection that is available; the first one gives the headline.
        recommended: The arm to use; `None` before anything is scored.
        answer: Four lines: what was compared, the score, the rest, what to do; empty for a single arm.
        beyond: Tables of what else was measured: other examples of this kind, classes, outcomes.
        sam: The table of what SAM did; `None` where no run has logged it.
        cost: The table of training time.
        bins: Evaluation set -> arm -> for each seed the bins of its reliability diagram.
        examples: The evaluation sets whose predictions tell more than their score.
        caveats: What a reader must know before quoting a number.
        directory: Where it was written.
        figures: The figures' files; empty when there is nothing to draw or matplotlib is missing.
    """

    comparison: Comparison
    headline: str
    scores: tuple[Table, ...]
    recommended: str | None
    answer: tuple[str, ...]
    beyond: tuple[Table, ...]
    sam: Table | None
    cost: Table
    examples: tuple[AnsweredSet, ...]
    bins: Diagrams
    caveats: tuple[str, ...]
    directory: Path
    figures: tuple[Path, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables that have files of their own."""
        return (*self.scores, *self.beyond, *([self.sam] if self.sam else []), self.cost)

    def print(self, console: Console) -> None:
        """Prints the headline, its score table, other selections, caveats, files and the answer."""
        print_lines(console, [self.headline], "bold")
        if self.scores:
            print_table(console, self.scores[0])
        others = [sentence for scored in self.comparison.scored[1:] if (sentence := in_short(scored))]
        print_lines(console, others)
        print_lines(console, [f"* {caveat}" for caveat in self.caveats], "yellow")
        console.print(Text(f"Report: {self.directory / 'report.html'} (or report.md)"), soft_wrap=True)
        print_lines(console, self.answer, "bold")


def print_lines(console: Console, lines: Iterable[str], style: str = "") -> None:
    """Prints lines as they are, whatever they hold."""
    for line in lines:
        console.print(Text(plain(line), style=style), crop=False)


def print_table(console: Console, table: Table) -> None:
    """Prints a table and its notes."""
    console.print(to_rich(table, width=console.width, hide=("Seeds",)), crop=False)
    print_lines(console, table.notes, "dim")
