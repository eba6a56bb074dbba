"""The paper's tables and figures with our results beside its own, from the directories of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowland.paper.results import tables_of_point
from lowland.paper.tables import SENSITIVITY, paper_tables
from lowland.report.along import draw_panels, setting_figures
from lowland.report.figures import PANELS_PER_ROW, draw
from lowland.report.points import Point, find_lines, find_points
from lowland.report.result import Written
from lowland.report.runs import read_experiment
from lowland.report.selection import AVERAGE, Selection
from lowland.report.write import write_together


def write_paper(directories: Sequence[Path], out: Path) -> Written:
    """Writes the paper's tables and figures of experiments: `paper.md`, `tables/` and `figures/`.

    Runs with the same settings count together, whichever experiments they are from.
    """
    points = find_points([read_experiment(directory) for directory in directories])
    tables = paper_tables(points)
    head = "# As in the paper\n"
    if not tables:
        head += "\nNone of the experiments is like any in the paper's tables.\n"
    return write_together(out / "paper.md", head, tables, lambda: _figures(points))


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
