"""Writes an experiment's report beside its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lowland.errors import UserError
from lowland.files import write_atomic
from lowland.report.comparison import Comparison, compare
from lowland.report.examples import AnsweredSet, read_examples
from lowland.report.examples_tables import example_tables, flips_file
from lowland.report.figures import score_figure
from lowland.report.formats import Table, to_csv, to_latex, to_markdown
from lowland.report.grid import pairs_of
from lowland.report.headline import answer_of, headline, recommended_of
from lowland.report.outcomes import judged_outcomes, outcome_table, read_outcomes
from lowland.report.page import to_json, to_page
from lowland.report.result import Report, Reports
from lowland.report.runs import read_experiment, title_of
from lowland.report.selection import Selection
from lowland.report.tables import cost_table, score_table, summary_table

FIGURES = ("scores.png", "scores.svg")


def write_report(experiment_dir: Path) -> Report:
    """Reports on an experiment: writes `report/` in its directory.

    Each file is written aside and then put in place, so a reader never meets half a file. The same
    runs give the same bytes.

    Args:
        experiment_dir: The experiment's directory.

    Returns:
        The report.

    Raises:
        UserError: If the directory is not an experiment's, a file is malformed, or the report cannot
            be written.
    """
    comparison = compare(read_experiment(experiment_dir))
    caveats: list[str] = []
    try:
        figures = score_figure(comparison)
    except UserError as error:
        figures = {}
        caveats.append(str(error))
    report, examples = _make(comparison, experiment_dir / "report", caveats, figures)
    files = {f"figures/{name}": content for name, content in figures.items()}
    if flips := flips_file(examples):
        files["flips.jsonl"] = flips
    for table in (*report.scores, *report.beyond, report.cost):
        files |= table_files(f"tables/{table.name}", table)
    files["report.json"] = to_json(report).encode()
    files["report.md"] = to_page(report).encode()
    ways = [f"tables/scores-{selection.value}" for selection in Selection]
    ways += ["tables/beyond", "tables/classes", "tables/outcomes", "tables/outcomes-last-step"]
    possible = ["flips.jsonl", *(f"{stem}.{kind}" for stem in ways for kind in ("md", "csv", "tex"))]
    possible += [f"figures/{name}" for name in FIGURES]
    write_files(report.directory, files, obsolete=[name for name in possible if name not in files])
    return report


def read_report(experiment_dir: Path) -> Report:
    """Gives the report of an experiment that was written before, without drawing or writing anything."""
    directory = experiment_dir / "report"
    figures = [name for name in FIGURES if (directory / "figures" / name).is_file()]
    return _make(compare(read_experiment(experiment_dir)), directory, (), figures)[0]


def _make(
    comparison: Comparison, directory: Path, caveats: Sequence[str], figures: Iterable[str]
) -> tuple[Report, Sequence[AnsweredSet]]:
    examples = read_examples(comparison.experiment, comparison.scored[0]) if comparison.scored else ()
    stepped = [scored for scored in comparison.scored if scored.selection is not Selection.BEST]
    outcomes = [read_outcomes(comparison.experiment, scored) for scored in stepped]
    names = ["outcomes", *(f"outcomes-{scored.selection.value}" for scored in stepped[1:])]
    more = dict.fromkeys(caveat for one in outcomes for caveat in one.caveats)
    tables = [outcome_table(one, name) for one, name in zip(outcomes, names, strict=False)]
    floors = {(one.name, one.metric): one.floor for one in examples}
    scores = tuple(score_table(comparison, scored, floors) for scored in comparison.scored)
    report = Report(
        comparison=comparison,
        headline=headline(comparison, floors),
        scores=scores,
        recommended=recommended_of(comparison, floors),
        answer=answer_of(comparison, floors, judged_outcomes(outcomes[0]) if outcomes else ()),
        beyond=(*example_tables(examples, title_of), *(table for table in tables if table is not None)),
        cost=cost_table(comparison),
        caveats=(*comparison.caveats, *caveats, *more),
        directory=directory,
        figures=tuple(directory / "figures" / name for name in figures),
    )
    return report, examples


def report_many(experiment_dirs: Sequence[Path]) -> Reports:
    """Reports on each experiment, and over all of them in one table.

    Args:
        experiment_dirs: The experiments' directories; one given twice counts once.

    Returns:
        The reports, with a summary when there is more than one experiment.

    Raises:
        UserError: As for `write_report`; also if no directory is given.
    """
    different = list({directory.resolve(): directory for directory in experiment_dirs}.values())
    if not different:
        raise UserError("No experiment to report on; give at least one experiment's directory.")
    reports = tuple(write_report(directory) for directory in different)
    pairs = [compare(pair) for report in reports for pair in pairs_of(report.comparison.experiment)]
    summary = summary_table(pairs) if len(reports) > 1 else None
    return Reports(reports=reports, summary=summary)


def table_files(stem: str, table: Table) -> dict[str, bytes]:
    """Returns a table's files: name -> content."""
    return {
        f"{stem}.md": to_markdown(table).encode(),
        f"{stem}.csv": to_csv(table).encode(),
        f"{stem}.tex": to_latex(table).encode(),
    }


def write_files(directory: Path, files: Mapping[str, bytes], obsolete: Sequence[str] = ()) -> None:
    """Writes files and removes what an earlier report had and this one has not: it would look current."""
    try:
        for name, content in files.items():
            write_atomic(directory / name, content)
        for name in obsolete:
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        where = error.filename or directory
        raise UserError(f"The report cannot be written to {where}: {error.strerror}.") from None
