"""What is over several experiments: one table, and figures along the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowland.errors import UserError
from lowland.report.along import setting_figures
from lowland.report.formats import Row, Table, make_table
from lowland.report.points import differing, find_lines, find_points, settings_of
from lowland.report.result import Report
from lowland.report.tables import NONE
from lowland.report.words import count
from lowland.report.write import Written, write_together


def find_experiments(directory: Path) -> list[Path]:
    """Lists the experiments of a directory: itself, or those in it; none is an error."""
    if (directory / "experiment.json").exists():
        return [directory]
    found = sorted(file.parent for file in directory.glob("*/experiment.json")) if directory.is_dir() else []
    if not found:
        raise UserError(f"{directory}: no experiment is here, and none in a directory inside it.")
    return found


def write_several(reports: Sequence[Report], out: Path) -> Written:
    """Writes what is over several experiments: `report.md`, `tables/` and `figures/`."""
    experiments = [report.comparison.experiment for report in reports]
    ways = {report.comparison.scored[0].selection for report in reports if report.comparison.scored}
    notes = [report.headline for report in reports if not report.scores]
    if len(ways) > 1:
        notes.append("Not all experiments have held-out scores: their scores are selected differently.")
    head = f"# {count(len(reports), 'experiment')}\n"
    draw = lambda: setting_figures(find_lines(find_points(experiments)))
    return write_together(out / "report.md", head, [_summary(reports)], draw, notes)


def _summary(reports: Sequence[Report]) -> Table:
    """Puts each experiment's first score in one table, with the settings that differ."""
    settings = [settings_of(report.comparison.experiment) for report in reports]
    differ = differing(settings)
    rows: list[Row] = []
    heads: Sequence[str] = ()
    for report, own in zip(reports, settings, strict=True):
        name = report.comparison.experiment.name
        first = (name, *(NONE if own.get(key) is None else str(own[key]) for key in differ))
        known = {"experiment": name, **{f"setting.{key}": own.get(key) for key in differ}}
        for table in report.scores[:1]:
            heads = [
                f"{'>' * (at == 'r')}{head}" for head, at in zip(table.columns, table.align, strict=True)
            ]
            for cells, record in zip(table.rows, table.records, strict=True):
                if cells[:2] == table.rows[0][:2]:  # the score that decides
                    rows.append(((*first, *cells), known | dict(record)))
    title = "Experiments: score in percent, the average where there is more than one"
    return make_table("summary", title, ["Experiment", *differ, *heads], rows)
