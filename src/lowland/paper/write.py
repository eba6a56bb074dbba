"""The paper's tables and figures with our results beside its own, from the directories of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lowland.paper.results import tables_of_point
from lowland.paper.tables import SENSITIVITY, paper_tables
from lowland.report.along import draw_panels, setting_figures
from lowland.report.figures import PANELS_PER_ROW, draw
from lowland.report.formats import Table, to_markdown
from lowland.report.points import Point, find_lines, find_points
from lowland.report.result import print_lines, print_table
from lowland.report.runs import read_experiment
from lowland.report.selection import AVERAGE, Selection
from lowland.report.write import drawn, files_of, write_files


@dataclass(frozen=True, kw_only=True)
class PaperReport:
    """What was written."""

    tables: tuple[Table, ...]  # the paper's tables that have a line of ours, and one of the gains
    directory: Path
    notes: tuple[str, ...]  # why there are no figures, where there are none

    def print(self, console: Console) -> None:
        """Prints the tables and where everything is."""
        for table in self.tables:
            print_table(console, table)
        print_lines(console, [f"* {note}" for note in self.notes], "yellow")
        console.print(Text(f"The paper's tables: {self.directory / 'paper.md'}"), soft_wrap=True)


def write_paper(directories: Sequence[Path], out: Path) -> PaperReport:
    """Writes the paper's tables and figures of experiments: `paper.md`, `tables/` and `figures/`.

    Runs with the same settings count together, whichever experiments they are from.

    Raises:
        UserError: If a file is malformed, or nothing can be written.
    """
    points = find_points([read_experiment(directory) for directory in directories])
    tables = paper_tables(points)
    figures, notes = drawn(lambda: _figures(points))
    parts = ["# As in the paper\n", *(to_markdown(table) for table in tables)]
    if not tables:
        parts.append("None of the experiments is like any in the paper's tables.\n")
    parts += [f"![{name}](figures/{name})\n" for name in figures if name.endswith(".png")]
    write_files(out, {**files_of(tables, figures), "paper.md": "\n".join(parts).encode()})
    return PaperReport(tables=tables, directory=out, notes=tuple(notes))


def _figures(points: Sequence[Point]) -> dict[str, bytes]:
    """Draws Figure 1, closed-book questions along the fraction of the data, and Figure 2, SAM's settings."""
    lines = find_lines(points)
    questions = [line for line in lines if line.setting == "data.fraction"]
    files = {
        name.replace("fraction", "figure-1"): content
        for name, content in setting_figures(questions, Selection.BEST).items()
    }
    of_table = [line for line in lines if 9 in tables_of_point(next(iter(line.points.values())))]
    along = [[line for line in of_table if line.setting == setting] for setting in SENSITIVITY]
    panels = [("", "average score", found, (AVERAGE, "all")) for found in along if found]
    if panels:
        columns = min(len(panels), PANELS_PER_ROW)
        files |= draw("figure-2", lambda figure: draw_panels(figure, panels, Selection.BEST, columns))
    return files
