"""The report of several experiments: each one's own, and over all of them one table and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lowland.errors import UserError
from lowland.report.along import setting_figures
from lowland.report.formats import Row, Table, make_table, print_table
from lowland.report.points import differing, find_lines, find_points, settings_of
from lowland.report.result import Report
from lowland.report.tables import NONE
from lowland.report.words import count
from lowland.report.write import Written, write_report, write_together


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The reports of several experiments."""

    reports: tuple[Report, ...]
    summary: Table | None  # one table over all of them; `None` for a single experiment
    written: Written | None = None  # what was written over all of them

    def print(self, console: Console) -> None:
        """Prints what was written over all experiments; else every report, and the summary."""
        if self.written is not None:
            self.written.print(console)
            return
        for report in self.reports:
            report.print(console)
        if self.summary is not None:
            print_table(console, self.summary)


def report_many(experiment_dirs: Sequence[Path], out: Path | None = None) -> Reports:
    """Reports on each experiment, and over all of them in one table and in figures along their settings.

    Args:
        experiment_dirs: The experiments' directories; one given twice counts once.
        out: Where to write what is over all of them; `None` to write nothing more than each one's report.
    """
    different = {directory.resolve(): directory for directory in experiment_dirs}
    reports = tuple(write_report(directory) for directory in different.values())
    summary = _summary(reports) if len(reports) > 1 or out is not None else None
    if out is None or summary is None:
        return Reports(reports=reports, summary=summary)
    ways = {report.comparison.scored[0].selection for report in reports if report.comparison.scored}
    notes = [report.headline for report in reports if not report.scores]
    if len(ways) > 1:
        notes.append("Not all experiments have held-out scores: their scores are selected differently.")
    written = write_together(
        out / "report.md",
        f"# {count(len(reports), 'experiment')}\n",
        [summary],
        lambda: setting_figures(find_lines(find_points([one.comparison.experiment for one in reports]))),
        notes,
    )
    return Reports(reports=reports, summary=summary, written=written)


def find_experiments(directory: Path) -> list[Path]:
    """Lists the experiments of a directory: itself, or those in it; none is an error."""
    if (directory / "experiment.json").exists():
        return [directory]
    found = sorted(file.parent for file in directory.glob("*/experiment.json")) if directory.is_dir() else []
    if not found:
        raise UserError(f"{directory}: no experiment is here, and none in a directory inside it.")
    return found


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
                f"{'>' * (at == 'r')}{column}" for column, at in zip(table.columns, table.align, strict=True)
            ]
            for cells, record in zip(table.rows, table.records, strict=True):
                if cells[:2] == table.rows[0][:2]:  # the score that decides
                    rows.append(((*first, *cells), known | dict(record)))
    title = "Experiments: score in percent, the average where there is more than one"
    return make_table("summary", title, ["Experiment", *differ, *heads], rows)
