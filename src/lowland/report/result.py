"""A written report, and what of it goes to the terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
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
        show = Printer(console)
        show(Text(plain(self.headline), style="bold"))
        if self.scores:
            show.table(self.scores[0])
        for scored in self.comparison.scored[1:]:
            if (sentence := in_short(scored)) is not None:
                show(Text(sentence))
        for caveat in self.caveats:
            show(Text(f"* {plain(caveat)}", style="yellow"))
        show(Text(f"Report: {self.directory / 'report.html'} (or report.md)"), soft_wrap=True)
        self.print_answer(console)

    def print_answer(self, console: Console) -> None:
        """Prints the answer."""
        show = Printer(console)
        for line in self.answer:
            show(Text(plain(line), style="bold"))


class Printer:
    """Prints to a console; where its encoding lacks a character, a stand-in is printed."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, shown: Text | RichTable, *, soft_wrap: bool = False) -> None:
        """Prints one thing."""
        if isinstance(shown, Text):
            shown.plain = self._encodable(shown.plain)
        self.console.print(shown, crop=False, soft_wrap=soft_wrap)

    def table(self, table: Table) -> None:
        """Prints a table and its notes."""
        rows = tuple(tuple(map(self._encodable, row)) for row in table.rows)
        columns = tuple(map(self._encodable, table.columns))
        table = replace(table, rows=rows, columns=columns, title=self._encodable(table.title))
        self(to_rich(table, width=self.console.width, hide=("Seeds",)))
        for note in table.notes:
            self(Text(note, style="dim"))

    def _encodable(self, text: str) -> str:
        encoding = self.console.encoding
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return text.replace("±", "+/-").encode(encoding, "replace").decode(encoding)
        return text
