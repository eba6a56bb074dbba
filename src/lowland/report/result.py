"""A written report, and what of it goes to the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from lowland.report.comparison import Comparison
from lowland.report.formats import Table, plain, to_rich


@dataclass(frozen=True, kw_only=True)
class Report:
    """A written report.

    Attributes:
        comparison: What it is about.
        headline: The result in one sentence.
        scores: A score table for each selection that is available; the first one gives the headline.
        cost: The table of training time.
        caveats: What a reader must know before quoting a number.
        directory: Where it was written.
        figures: The figures' files; empty when there is nothing to draw or matplotlib is missing.
    """

    comparison: Comparison
    headline: str
    scores: tuple[Table, ...]
    cost: Table
    caveats: tuple[str, ...]
    directory: Path
    figures: tuple[Path, ...]

    def print(self, console: Console) -> None:
        """Prints the headline, the score table that it rests on, the caveats and where the files are."""
        show = _Printer(console)
        show(Text(plain(self.headline), style="bold"))
        for table in self.scores[:1]:
            show(to_rich(table))
            for note in table.notes:
                show(Text(note, style="dim"))
        for caveat in self.caveats:
            show(Text(f"* {plain(caveat)}", style="yellow"))
        show(Text(f"Report: {self.directory / 'report.md'}"))
        for figure in self.figures[:1]:
            show(Text(f"Figure: {figure}"))


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The reports of several experiments.

    Attributes:
        reports: One for each experiment.
        summary: One table over all of them; `None` for a single experiment.
    """

    reports: tuple[Report, ...]
    summary: Table | None

    def print(self, console: Console) -> None:
        """Prints every report, and the summary last."""
        for report in self.reports:
            if self.summary is not None:
                console.rule(Text(plain(report.comparison.experiment.name)))
            report.print(console)
        if self.summary is not None:
            console.rule()
            show = _Printer(console)
            show(to_rich(self.summary))
            for note in self.summary.notes:
                show(Text(note, style="dim"))


class _Printer:
    """Prints to a console; where its encoding lacks a character, a stand-in is printed."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, shown: RenderableType) -> None:
        if self.console.encoding.startswith("utf"):
            self.console.print(shown)
            return
        with self.console.capture() as capture:
            self.console.print(shown)
        text = capture.get().replace("±", "+/-")
        self.console.file.write(text.encode(self.console.encoding, "replace").decode(self.console.encoding))
