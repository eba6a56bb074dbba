"""Writes an experiment's report beside its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lowland.errors import UserError
from lowland.files import write_atomic
from lowland.report import tables
from lowland.report.along import setting_figures
from lowland.report.answer import answer_of, headline, recommended, told
from lowland.report.comparison import compare
from lowland.report.examples import flips_file, read_examples
from lowland.report.figures import reliability_figure, score_figure
from lowland.report.formats import Table, print_lines, print_table, to_csv, to_latex, to_markdown
from lowland.report.outcomes import read_outcomes
from lowland.report.points import find_lines, find_points
from lowland.report.result import Report, bullets, to_html, to_json, to_page
from lowland.report.runs import read_experiment

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
    report = replace(
        report,
        caveats=(*report.caveats, *missing),
        figures=tuple(report.directory / "figures" / name for name in figures),
    )
    files = _files(report.tables, figures)
    if flips := flips_file(report.examples):
        files["flips.jsonl"] = flips
    files["report.json"] = to_json(report).encode()
    files["report.md"] = to_page(report).encode()
    files["report.html"] = to_html(report, figures).encode()
    _write(report.directory, files, OWN)
    return report


def read_report(experiment_dir: Path) -> Report:
    """Makes the report of an experiment without writing anything; its figures are those drawn before."""
    experiment = read_experiment(experiment_dir)
    comparison = compare(experiment)
    examples = read_examples(experiment, comparison.scored[0]) if comparison.scored else ()
    if examples:
        comparison = compare(experiment, {(one.name, one.metric): one.floor for one in examples})
    outcomes = [read_outcomes(experiment, scored) for scored in comparison.scored]
    beyond = [
        tables.outcome_table(one, scored, f"outcomes-{scored.selection.value}" if place else "outcomes")
        for place, (one, scored) in enumerate(zip(outcomes, comparison.scored, strict=True))
    ]
    beyond += [tables.beyond_table(examples), tables.class_table(examples)]
    rows = comparison.scored[0].rows if comparison.scored else ()
    directory = experiment_dir / "report"
    return Report(
        comparison=comparison,
        headline=headline(comparison),
        elsewhere=tuple(
            f"{scored.selection.label.capitalize()}: {told(scored)}"
            for scored in comparison.scored[1:]
            if any(paired.n for paired in scored.rows[0].paired.values())
        ),
        scores=tuple(tables.score_table(comparison, scored) for scored in comparison.scored),
        recommended=recommended(experiment.reference, rows[0].verdicts) if rows else None,
        answer=answer_of(comparison, outcomes[0].rows if outcomes else ()),
        beyond=tuple(table for table in beyond if table.rows),
        sam=tables.sam_table(experiment),
        cost=tables.cost_table(comparison),
        examples=examples,
        bins=outcomes[0].bins if outcomes else {},
        caveats=comparison.caveats,
        directory=directory,
        figures=tuple(sorted(directory.glob("figures/*.png")) + sorted(directory.glob("figures/*.svg"))),
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
