"""The report of several experiments together: tables over all of them, and figures along their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lowland.errors import UserError
from lowland.report.comparison import Comparison, compare
from lowland.report.formats import Table, Value, escape_markdown, to_markdown
from lowland.report.grid import (
    common_selection,
    differing,
    find_axes,
    pairs_of,
    pool,
    pool_pairs,
    scored_by,
    settings_of,
)
from lowland.report.grid_figures import axis_figures, caption, figure_names, sensitivity_figure
from lowland.report.paper.tables import paper_tables
from lowland.report.result import Printer
from lowland.report.runs import read_experiment
from lowland.report.tables import NONE, PAIR_COLUMNS, pair_cells, pair_record, summary_table
from lowland.report.words import count
from lowland.report.write import table_files, write_files


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """A written report of several experiments.

    Attributes:
        summary: A row for each experiment.
        scores: A row for each experiment, evaluation set and metric.
        paper: The paper's tables with these experiments beside its figures.
        caveats: What a reader must know before quoting a number.
        directory: Where it was written.
        figures: The figures' files.
        captions: What they show, by the stems of the files.
    """

    summary: Table
    scores: Table
    paper: tuple[Table, ...]
    caveats: tuple[str, ...]
    directory: Path
    figures: tuple[Path, ...]
    captions: Mapping[str, str]

    def print(self, console: Console) -> None:
        """Prints the summary, the paper's tables, caveats and the files' places."""
        show = Printer(console)
        for table in (self.summary, *self.paper):
            show.table(table)
        for caveat in self.caveats:
            show(Text(f"* {caveat}", style="yellow"))
        show(Text(f"Report: {self.directory / 'report.md'}"), soft_wrap=True)
        for figure in self.figures:
            if figure.suffix == ".png":
                show(Text(f"Figure: {figure}"), soft_wrap=True)


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


def write_sweep(directories: Sequence[Path], out: Path, *, paper: bool | None = None) -> SweepReport:
    """Reports on several experiments together.

    Experiments with the same settings count as one, with the seeds of all of them.

    Args:
        directories: The experiments' directories.
        out: Where to write.
        paper: Whether to lay the results out as the paper's tables; by default where the paper has the row.

    Returns:
        The report.

    Raises:
        UserError: If a file is malformed, or the report cannot be written.
    """
    experiments = pool([read_experiment(directory) for directory in directories])
    pairs = pool_pairs([pair for experiment in experiments for pair in pairs_of(experiment)])
    comparisons = [compare(pair) for pair in pairs]
    comparisons.sort(key=_order(comparisons))
    axes = find_axes(comparisons)
    caveats = _caveats(comparisons)
    try:
        figures = axis_figures(axes) | sensitivity_figure(axes)
    except UserError as error:
        figures = {}
        caveats.append(str(error))
    report = SweepReport(
        summary=summary_table(comparisons),
        scores=scores_table(comparisons),
        paper=paper_tables(comparisons, always=paper) if paper is not False else (),
        caveats=tuple(caveats),
        directory=out,
        figures=tuple(out / "figures" / name for name in figures),
        captions={name: caption(axis) for name, axis in figure_names(axes).items()},
    )
    files = {f"figures/{name}": content for name, content in figures.items()}
    for table in (report.summary, report.scores, *report.paper):
        files |= table_files(f"tables/{table.name}", table)
    files["report.md"] = _page(report).encode()
    write_files(out, files)
    return report


def scores_table(comparisons: Sequence[Comparison]) -> Table:
    """Makes the table of every evaluation set and metric of several experiments.

    The records hold all ways of selecting; the rows the first one that all experiments have.

    Args:
        comparisons: The experiments, in the order of the rows.
    """
    settings = [settings_of(c.experiment) for c in comparisons]
    differ = differing(settings)
    way = common_selection(comparisons)
    rows: list[tuple[str, ...]] = []
    records: list[Mapping[str, Value]] = []
    for comparison, of_one in zip(comparisons, settings, strict=True):
        own = [NONE if of_one.get(key) is None else str(of_one[key]) for key in differ]
        name = comparison.experiment.name
        for scored in comparison.scored:
            records += [
                {
                    "experiment": name,
                    **{f"setting.{key}": of_one.get(key) for key in differ},
                    **pair_record(scored.selection.value, row),
                }
                for row in scored.rows
            ]
        first = scored_by(comparison, way) if way is not None else None
        for row in first.rows if first else ():
            rows.append((*(own or [name]), row.evaluation_set, row.metric, *pair_cells(row)))
    label = "" if way is None else f": {way.label}"
    return Table(
        name="scores",
        title=f"Scores in percent{label}",
        columns=(*(differ or ["Experiment"]), "Evaluation set", "Metric", *PAIR_COLUMNS),
        align="l" * (len(differ) or 1) + "ll" + "rrrrl",
        rows=tuple(rows),
        records=tuple(records),
    )


def _order(comparisons: Sequence[Comparison]) -> Callable[[Comparison], list[tuple[int, float, str]]]:
    """Orders experiments by the settings in which they differ, numbers by their size."""
    differ = differing([settings_of(c.experiment) for c in comparisons])

    def key(comparison: Comparison) -> list[tuple[int, float, str]]:
        values = [settings_of(comparison.experiment).get(name) for name in differ]
        return [
            (0, float(value), "") if isinstance(value, (int, float)) else (1, 0.0, str(value))
            for value in values
        ]

    return key


def _caveats(comparisons: Sequence[Comparison]) -> list[str]:
    caveats = []
    others = [
        repr({key: value for key, value in settings_of(c.experiment).items() if not key.startswith("sam.")})
        for c in comparisons
    ]
    if len(set(others)) < len(others):
        caveats.append(
            "Experiments that differ in SAM's settings only have the same baseline runs: their differences "
            "share its luck, and times that are set in proportion to it may be of different moments."
        )
    for comparison in comparisons:
        missing = [
            f"{run.title} {'failed' if run.state == 'failed' else 'has not finished'}"
            for run in comparison.experiment.runs
            if run.state != "done"
        ]
        if missing:
            caveats.append(f"{comparison.experiment.name}: {'; '.join(missing)}.")
    selections = {c.scored[0].selection for c in comparisons if c.scored}
    if len(selections) > 1:
        caveats.append("Not all experiments have held-out scores: their scores are selected differently.")
    return caveats


def _page(report: SweepReport) -> str:
    parts = [f"# {count(len(report.summary.rows), 'comparison')}\n"]
    if report.caveats:
        parts.append("## Before you quote a number\n")
        parts.append("\n".join(f"- {escape_markdown(caveat)}" for caveat in report.caveats) + "\n")
    parts.append(to_markdown(report.summary))
    for figure in report.figures:
        if figure.suffix == ".png":
            text = report.captions.get(figure.stem, "Along SAM's own settings, the average score.")
            parts.append(f"![{figure.stem}](figures/{figure.name})\n\n{escape_markdown(text)}\n")
    if report.paper:
        parts.append("## As in the paper\n")
        parts += [to_markdown(table) for table in report.paper]
    parts.append("## All scores\n")
    parts.append(to_markdown(report.scores))
    return "\n".join(parts)
