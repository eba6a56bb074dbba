"""Writes an experiment's report beside its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lowland.errors import UserError
from lowland.files import write_atomic
from lowland.report.along import setting_figures
from lowland.report.comparison import compare
from lowland.report.examples import flips_file, read_examples
from lowland.report.figures import reliability_figure, score_figure
from lowland.report.formats import Table, to_csv, to_latex, to_markdown
from lowland.report.headline import answer_of, headline, recommended_of
from lowland.report.html import to_html
from lowland.report.outcomes import judged_outcomes, read_outcomes
from lowland.report.page import to_json, to_page
from lowland.report.points import find_lines, find_points
from lowland.report.result import Report
from lowland.report.runs import read_experiment
from lowland.report.tables import cost_table, example_tables, outcome_table, sam_table, score_table

SOMETIMES = (
    "flips.jsonl",
    *(f"figures/{name}.{kind}" for name in ("scores", "reliability") for kind in ("png", "svg")),
    *(
        f"tables/{name}.{kind}"
        for name in ("scores-held-out", "scores-last-step", "outcomes", "outcomes-last-step")
        for kind in ("md", "csv", "tex")
    ),
    *(f"tables/{name}.{kind}" for name in ("beyond", "classes", "sam") for kind in ("md", "csv", "tex")),
)
"""Files that not every report has. One that an earlier report left would look current."""


def write_report(experiment_dir: Path) -> Report:
    """Reports on an experiment: writes `report/` in its directory.

    Each file is written aside and then put in place, so a reader never meets half a file. The same
    runs give the same bytes.

    Raises:
        UserError: If the directory is not an experiment's, a file is malformed, or the report cannot
            be written.
    """
    report = read_report(experiment_dir)
    figures, problem = drawn(lambda: draw_report(report))
    report = replace(
        report,
        caveats=(*report.caveats, *problem),
        figures=tuple(report.directory / "figures" / name for name in figures),
    )
    files = {f"figures/{name}": content for name, content in figures.items()}
    if flips := flips_file(report.examples):
        files["flips.jsonl"] = flips
    for table in report.tables:
        files |= table_files(table)
    files["report.json"] = to_json(report).encode()
    files["report.md"] = to_page(report).encode()
    files["report.html"] = to_html(report, figures).encode()
    write_files(report.directory, files, SOMETIMES)
    return report


def read_report(experiment_dir: Path) -> Report:
    """Makes the report of an experiment without drawing or writing anything.

    Returns:
        The report, with the figures that were drawn before.

    Raises:
        UserError: As for `write_report`.
    """
    experiment = read_experiment(experiment_dir)
    comparison = compare(experiment)
    directory = experiment_dir / "report"
    examples = read_examples(experiment, comparison.scored[0]) if comparison.scored else ()
    outcomes = [read_outcomes(experiment, scored) for scored in comparison.scored]
    names = ["outcomes", *(f"outcomes-{scored.selection.value}" for scored in comparison.scored[1:])]
    tables = [outcome_table(one, name) for one, name in zip(outcomes, names, strict=False)]
    floors = {(one.name, one.metric): one.floor for one in examples}
    return Report(
        comparison=comparison,
        headline=headline(comparison, floors),
        scores=tuple(score_table(comparison, scored, floors) for scored in comparison.scored),
        recommended=recommended_of(comparison, floors),
        answer=answer_of(comparison, floors, judged_outcomes(outcomes[0]) if outcomes else ()),
        beyond=(*(table for table in tables if table is not None), *example_tables(examples)),
        sam=sam_table(experiment),
        cost=cost_table(comparison),
        examples=examples,
        bins=outcomes[0].bins if outcomes else {},
        caveats=(*comparison.caveats, *dict.fromkeys(caveat for one in outcomes for caveat in one.caveats)),
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


def drawn(draw: Callable[[], dict[str, bytes]]) -> tuple[dict[str, bytes], list[str]]:
    """Draws figures; where that cannot be, says why."""
    try:
        return draw(), []
    except UserError as error:
        return {}, [str(error)]


def table_files(table: Table) -> dict[str, bytes]:
    """Returns a table's files: name -> content."""
    return {
        f"tables/{table.name}.md": to_markdown(table).encode(),
        f"tables/{table.name}.csv": to_csv(table).encode(),
        f"tables/{table.name}.tex": to_latex(table).encode(),
    }


def write_files(directory: Path, files: Mapping[str, bytes], sometimes: Sequence[str] = ()) -> None:
    """Writes files, and removes those of `sometimes` that are not among them."""
    try:
        for name, content in files.items():
            write_atomic(directory / name, content)
        for name in sometimes:
            if name not in files:
                (directory / name).unlink(missing_ok=True)
    except OSError as error:
        where = error.filename or directory
        raise UserError(f"The report cannot be written to {where}: {error.strerror}.") from None
