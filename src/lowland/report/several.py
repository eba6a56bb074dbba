"""The report of several experiments: each one's own, and over all of them one table and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lowland.errors import UserError
from lowland.report.along import setting_figures
from lowland.report.formats import Row, Table, make_table, plain
from lowland.report.points import differing, find_lines, find_points, settings_of
from lowland.report.result import Report, Written, print_table
from lowland.report.tables import NONE
from lowland.report.words import count
from lowland.report.write import write_report, write_together


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The reports of several experiments."""

    reports: tuple[Report, ...]
    summary: Table | None  # one table over all of them; `None` for a single experiment
    written: Written | None = None  # what was written over all of them

    def print(self, console: Console) -> None:
        """Prints what was written over all experiments; else every report, and the summary."""
        if self.written is not None:
            console.print()
            self.written.print(console)
            return
        for report in self.reports:
            if self.summary is not None:
                console.print(Text(f"\n{plain(report.comparison.experiment.name)}", style="bold underline"))
            report.print(console)
        if self.summary is not None:
            console.print()
            print_table(console, self.summary)


def report_many(experiment_dirs: Sequence[Path], out: Path | None = None) -> Reports:
    """Reports on each experiment, and over all of them in one table and in figures along their settings.

    Args:
        experiment_dirs: The experiments' directories; one given twice counts once.
        out: Where to write what is over all of them; `None` to write nothing more than each one's report.
    """
    different = list({directory.resolve(): directory for directory in experiment_dirs}.values())
    if not different:
        raise UserError("No experiment to report on; give at least one experiment's directory.")
    reports = tuple(write_report(directory) for directory in different)
    if out is None:
        return Reports(reports=reports, summary=_summary(reports) if len(reports) > 1 else None)
    experiments = [report.comparison.experiment for report in reports]
    notes = []
    ways = {report.comparison.scored[0].selection for report in reports if report.comparison.scored}
    if len(ways) > 1:
        notes.append("Not all experiments have held-out scores: their scores are selected differently.")
    for experiment in experiments:
        missing = [run.title for run in experiment.runs if run.state != "done"]
        if missing:
            notes.append(f"{experiment.name}: not finished are {', '.join(missing)}.")
    summary = _summary(reports)
    head = f"# {count(len(reports), 'experiment')}\n"
    draw = lambda: setting_figures(find_lines(find_points(experiments)))
    written = write_together(out / "report.md", head, [summary], draw, notes)
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
    """Puts each experiment's first score in one table, in the order of the settings that differ."""
    settings = [settings_of(report.comparison.experiment) for report in reports]
    names = [report.comparison.experiment.name for report in reports]
    differ = differing(settings)
    head = next((report.scores[0] for report in reports if report.scores), None)
    columns = zip(head.columns, head.align, strict=True) if head else ()
    heads = [f"{'>' if letter == 'r' else ''}{column}" for column, letter in columns]
    rows: list[tuple[list[tuple[int, float, str]], Row]] = []
    for report, own in zip(reports, settings, strict=True):
        experiment = report.comparison.experiment
        name = experiment.name if names.count(experiment.name) == 1 else str(experiment.directory)
        values = [own.get(key) for key in differ]
        first = (name, *(NONE if value is None else str(value) for value in values))
        known = {"experiment": name, **{f"setting.{key}": own.get(key) for key in differ}}
        scored: list[Row] = [(tuple(NONE for _ in heads), {})]
        for table in report.scores[:1]:
            both = list(zip(table.rows, table.records, strict=True))
            scored = [(cells, record) for cells, record in both if cells[:2] == table.rows[0][:2]]
        # Numbers are in the order of their size.
        place = [(0, float(v), "") if isinstance(v, (int, float)) else (1, 0.0, str(v)) for v in values]
        rows += [(place, ((*first, *cells), known | dict(record))) for cells, record in scored]
    return make_table(
        "summary",
        "Experiments: score in percent, the average where there is more than one",
        ["Experiment", *differ, *heads],
        [row for _, row in sorted(rows, key=lambda row: row[0])],
    )
