"""The report of several experiments: each one's own, and over all of them one table and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lowland.errors import UserError
from lowland.report.along import setting_figures
from lowland.report.formats import Row, Table, make_table, plain, to_markdown
from lowland.report.page import bullets
from lowland.report.points import differing, find_lines, find_points, settings_of
from lowland.report.result import Report, print_lines, print_table
from lowland.report.tables import NONE
from lowland.report.words import count
from lowland.report.write import drawn, table_files, write_files, write_report


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The reports of several experiments.

    Attributes:
        reports: One for each experiment.
        summary: One table over all of them; `None` for a single experiment.
        directory: Where the summary and its figures were written; `None` where they were not.
        figures: The figures' files.
        caveats: What a reader must know of the figures.
    """

    reports: tuple[Report, ...]
    summary: Table | None
    directory: Path | None = None
    figures: tuple[Path, ...] = ()
    caveats: tuple[str, ...] = ()

    def print(self, console: Console) -> None:
        """Prints the summary; before it every report, where nothing was written of them together."""
        for report in self.reports if self.directory is None else ():
            if self.summary is not None:
                console.print(Text(f"\n{plain(report.comparison.experiment.name)}", style="bold underline"))
            report.print(console)
        if self.summary is not None:
            console.print()
            print_table(console, self.summary)
        print_lines(console, [f"* {caveat}" for caveat in self.caveats], "yellow")
        if self.directory is not None:
            console.print(Text(f"Report: {self.directory / 'report.md'}"), soft_wrap=True)
        for figure in self.figures:
            console.print(Text(f"Figure: {figure}"), soft_wrap=True)


def report_many(experiment_dirs: Sequence[Path], out: Path | None = None) -> Reports:
    """Reports on each experiment, and over all of them in one table and in figures along their settings.

    Args:
        experiment_dirs: The experiments' directories; one given twice counts once.
        out: Where to write what is over all of them; `None` to write nothing more than each one's report.

    Returns:
        The reports, with a summary when there is more than one experiment.

    Raises:
        UserError: As for `write_report`; also if no directory is given.
    """
    different = list({directory.resolve(): directory for directory in experiment_dirs}.values())
    if not different:
        raise UserError("No experiment to report on; give at least one experiment's directory.")
    reports = [write_report(directory) for directory in different]
    if out is None:
        return Reports(reports=tuple(reports), summary=_summary(reports) if len(reports) > 1 else None)
    summary = _summary(reports)
    experiments = [report.comparison.experiment for report in reports]
    figures, problems = drawn(lambda: setting_figures(find_lines(find_points(experiments))))
    ways = {report.comparison.scored[0].selection for report in reports if report.comparison.scored}
    if len(ways) > 1:
        problems.append("Not all experiments have held-out scores: their scores are selected differently.")
    for experiment in experiments:
        missing = [run.title for run in experiment.runs if run.state != "done"]
        if missing:
            problems.append(f"{experiment.name}: not finished are {', '.join(missing)}.")
    parts = [f"# {count(len(reports), 'experiment')}\n"]
    if problems:
        parts += ["## Before you quote a number\n", bullets(problems)]
    parts.append(to_markdown(summary))
    parts += [f"![{name}](figures/{name})\n" for name in figures if name.endswith(".png")]
    files = {f"figures/{name}": content for name, content in figures.items()} | table_files(summary)
    write_files(out, {**files, "report.md": "\n".join(parts).encode()})
    return Reports(
        reports=tuple(reports),
        summary=summary,
        directory=out,
        figures=tuple(out / "figures" / name for name in figures if name.endswith(".png")),
        caveats=tuple(problems),
    )


def find_experiments(directory: Path) -> list[Path]:
    """Lists the experiments of a directory: itself, or those in it.

    Raises:
        UserError: If there is none.
    """
    if (directory / "experiment.json").exists():
        return [directory]
    found = sorted(file.parent for file in directory.glob("*/experiment.json")) if directory.is_dir() else []
    if not found:
        raise UserError(f"{directory}: no experiment is here, and none in a directory inside it.")
    return found


def _summary(reports: Sequence[Report]) -> Table:
    """Puts each experiment's first score in one table, in the order of the settings that differ."""
    experiments = [report.comparison.experiment for report in reports]
    settings = [settings_of(experiment) for experiment in experiments]
    names = [experiment.name for experiment in experiments]
    differ = differing(settings)
    head = next((report.scores[0] for report in reports if report.scores), None)
    columns = dict(zip(head.columns, head.align, strict=True)) if head else {}
    rows: list[tuple[list[tuple[int, float, str]], Row]] = []
    for report, own in zip(reports, settings, strict=True):
        experiment = report.comparison.experiment
        name = experiment.name if names.count(experiment.name) == 1 else str(experiment.directory)
        values = [own.get(key) for key in differ]
        first = (name, *(NONE if value is None else str(value) for value in values))
        # Numbers are in the order of their size.
        place = [(0, float(v), "") if isinstance(v, (int, float)) else (1, 0.0, str(v)) for v in values]
        known = {"experiment": name, **{f"setting.{key}": own.get(key) for key in differ}}
        if not report.scores:
            rows.append((place, ((*first, *(NONE for _ in columns)), known)))
        for table in report.scores[:1]:
            rows += [
                (place, ((*first, *cells), known | dict(record)))
                for cells, record in zip(table.rows, table.records, strict=True)
                if cells[:2] == table.rows[0][:2]
            ]
    return make_table(
        "summary",
        "Experiments: score in percent, the average where there is more than one",
        {"Experiment": "l", **dict.fromkeys(differ, "l"), **columns},
        [row for _, row in sorted(rows, key=lambda row: row[0])],
    )
