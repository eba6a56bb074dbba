"""Writes an experiment's report beside its runs, and what is over several experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lowland.errors import UserError
from lowland.files import write_atomic
from lowland.report import tables
from lowland.report.along import differing, find_lines, find_points, setting_figures, settings_of
from lowland.report.answer import answer_of, headline, recommended
from lowland.report.comparison import compare
from lowland.report.examples import flips_file, read_examples
from lowland.report.figures import reliability_figure, score_figure
from lowland.report.formats import (
    Row,
    Table,
    make_table,
    print_lines,
    print_table,
    to_csv,
    to_latex,
    to_markdown,
)
from lowland.report.outcomes import read_outcomes
from lowland.report.result import Report, bullets, to_html, to_json, to_page
from lowland.report.runs import read_experiment
from lowland.report.words import count

OWN = (
    "flips.jsonl",
    *(f"tables/[!.]*.{kind}" for kind in ("md", "csv", "tex")),
    *(f"figures/[!.]*.{kind}" for kind in ("png", "svg")),
)
"""Files of a report's directory that are the report's. One that an earlier report left would look current."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """Tables and figures that were written together, and a page of Markdown that shows them all."""

    tables: Sequence[Table]
    page: Path
    figures: Sequence[Path]
    notes: Sequence[str]  # what a reader must know, such as why there are no figures

    def print(self, console: Console) -> None:
        """Prints the tables and where everything is."""
        for table in self.tables:
            print_table(console, table)
        print_lines(console, [f"* {note}" for note in self.notes], "yellow")
        for kind, file in (("Report", self.page), *(("Figure", figure) for figure in self.figures)):
            console.print(Text(f"{kind}: {file}"), soft_wrap=True)


def write_report(experiment_dir: Path) -> Report:
    """Reports on an experiment: writes `report/` in its directory. The same runs give the same bytes."""
    report = read_report(experiment_dir)
    figures, missing = _drawn(lambda: draw_report(report))
    report = replace(report, caveats=(*report.caveats, *missing))
    files = _files(report.tables, figures)
    if flips := flips_file(report.examples):
        files["flips.jsonl"] = flips
    files["report.json"] = to_json(report).encode()
    files["report.md"] = to_page(report, figures).encode()
    files["report.html"] = to_html(report, figures).encode()
    _write(report.directory, files, OWN)
    return report


def read_report(experiment_dir: Path) -> Report:
    """Makes the report of an experiment without writing anything."""
    experiment = read_experiment(experiment_dir)
    comparison = compare(experiment)
    examples = read_examples(experiment, comparison.scored[0]) if comparison.scored else ()
    if examples:
        comparison = compare(experiment, {(one.name, one.metric): one.floor for one in examples})
    outcomes = [read_outcomes(experiment, scored) for scored in comparison.scored]
    beyond = [
        tables.outcome_table(measured, scored, f"outcomes-{scored.selection.value}" if place else "outcomes")
        for place, ((measured, _), scored) in enumerate(zip(outcomes, comparison.scored, strict=True))
    ]
    beyond += [tables.beyond_table(examples), tables.class_table(examples)]
    rows = comparison.scored[0].rows if comparison.scored else ()
    return Report(
        comparison=comparison,
        headline=headline(comparison),
        scores=tuple(tables.score_table(comparison, scored) for scored in comparison.scored),
        recommended=recommended(experiment.reference, rows[0].verdicts) if rows else None,
        answer=answer_of(comparison, outcomes[0][0] if outcomes else ()),
        beyond=tuple(table for table in beyond if table.rows),
        sam=tables.sam_table(experiment),
        cost=tables.cost_table(comparison),
        examples=examples,
        bins=outcomes[0][1] if outcomes else {},
        caveats=comparison.caveats,
        directory=experiment_dir / "report",
    )


def draw_report(report: Report) -> dict[str, bytes]:
    """Draws a report's figures: scores along the steps, reliability, and scores along a grid's settings."""
    experiment = report.comparison.experiment
    return {
        **score_figure(report.comparison),
        **reliability_figure(experiment.arms, report.bins),
        **setting_figures(find_lines(find_points([experiment]))),
    }


def _drawn(draw: Callable[[], dict[str, bytes]]) -> tuple[dict[str, bytes], list[str]]:
    """Draws figures; where that cannot be, says why."""
    try:
        return draw(), []
    except UserError as error:
        return {}, [str(error)]


def _files(shown: Iterable[Table], figures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Returns the files of tables and figures: name -> content."""
    files = {f"figures/{name}": content for name, content in figures.items()}
    for table in shown:
        for kind, write in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
            files[f"tables/{table.name}.{kind}"] = write(table).encode()
    return files


def write_together(
    page: Path,
    head: str,
    shown: Sequence[Table],
    draw: Callable[[], dict[str, bytes]],
    notes: Sequence[str] = (),
) -> Written:
    """Writes tables and figures, and a page of Markdown that shows them all below a head and notes."""
    figures, missing = _drawn(draw)
    notes = (*missing, *notes)
    pictures = [name for name in figures if name.endswith(".png")]
    parts = [head, *(["## Before you quote a number\n", bullets(notes)] if notes else [])]
    parts += [*map(to_markdown, shown), *(f"![{name}](figures/{name})\n" for name in pictures)]
    _write(page.parent, _files(shown, figures) | {page.name: "\n".join(parts).encode()})
    drawings = [page.parent / "figures" / name for name in pictures]
    return Written(tables=shown, page=page, figures=drawings, notes=notes)


def _write(directory: Path, files: Mapping[str, bytes], own: Iterable[str] = ()) -> None:
    """Writes files, and removes what matches a pattern of `own` and is not among them."""
    try:
        for name, content in files.items():
            write_atomic(directory / name, content)
        for file in [file for pattern in own for file in directory.glob(pattern)]:
            if file.relative_to(directory).as_posix() not in files:
                file.unlink(missing_ok=True)
    except OSError as error:
        where = error.filename or directory
        raise UserError(f"The report cannot be written to {where}: {error.strerror}.") from None


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
        first = (name, *(tables.NONE if own.get(key) is None else str(own[key]) for key in differ))
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
