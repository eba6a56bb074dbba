"""The paper's tables and figures with our results beside its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowland.paper.printed import Layout, PrintedRow, layouts, printed_rows
from lowland.paper.results import (
    DEFAULTS,
    Result,
    as_in_paper,
    find_results,
    is_partial,
    tables_of_point,
)
from lowland.report.along import draw_panels, setting_figures
from lowland.report.comparison import pair_seeds
from lowland.report.figures import PANELS_PER_ROW, draw
from lowland.report.formats import Row, Table, Value, make_table
from lowland.report.points import Point, beside_sam, find_lines, find_points
from lowland.report.result import Written
from lowland.report.runs import Experiment
from lowland.report.selection import AVERAGE, Selection
from lowland.report.tables import DIFFERENCE, NONE, difference_cell, paired_record
from lowland.report.words import count, spread
from lowland.report.write import write_together
from lowland.statistics import Summary, summarize

METRICS: Mapping[str, str] = {
    "f1": "F1",
    "em": "EM",
    "exact_match": "EM",
    "accuracy": "acc.",
    "matthews": "MCC",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "matched_accuracy": "m",
    "mismatched_accuracy": "mm",
    "average": "",
}
GAINS = (1, 2, 3, 4, 5, 6, 7)  # tables 8 and 9 repeat what these say, in more detail
SENSITIVITY: Mapping[str, str] = {"sam.rho": "rho", "sam.ascent": "a", "sam.m": "m"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a table, the paper's or ours."""

    label: str  # the model, and SAM with its radius
    source: str  # `paper`, or the experiment
    cells: Mapping[tuple[str, str], Summary]  # column and metric -> mean and spread over seeds
    partial: bool = False  # whether columns are missing, so that the average is not the paper's
    swept: str = ""  # the setting and value of a line of Table 9


def write_paper(experiments: Sequence[Experiment], out: Path) -> Written:
    """Writes the paper's tables and figures of experiments: `paper.md`, `tables/` and `figures/`.

    Runs with the same settings count together, whichever experiments they are from.
    """
    points = find_points(experiments)
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


def paper_tables(points: Sequence[Point]) -> tuple[Table, ...]:
    """Makes those of the paper's tables that any point belongs to, and one of the relative gains."""
    tables = [*(_table(points, layout) for layout in layouts().values()), gains_table(points)]
    return tuple(table for table in tables if table.rows)


def _table(points: Sequence[Point], layout: Layout) -> Table:
    number = layout.number
    lines = _sensitivity(points) if number == 9 else _lines(find_results(points, number), layout)
    heads: dict[str, Sequence[str]] = {layout.average: layout.average_metrics} if layout.average else {}
    heads |= {column: list(metrics) for column, metrics in layout.columns.items() if layout.shown}
    swept = number == 9
    notes = [
        "Every score is the best of all checkpoints, for each task and metric on its own, as in the paper."
    ]
    if any(line.partial for line in lines):
        notes.append("* The average of the columns that are there, which is not the paper's.")
    if any(summary.n > 1 for line in lines for summary in line.cells.values()):
        notes.append("Means over seeds; the paper has one run of each.")
    labelled = [(*([line.swept] if swept else []), line.label, line.source) for line in lines]
    return Table(
        name=f"table-{number}",
        title=f"Table {number}: {layout.title}",
        columns=(
            *(["Setting"] if swept else []),
            *("Model", "Source"),
            *(f"{head} {' / '.join(METRICS[one] for one in of)}".strip() for head, of in heads.items()),
        ),
        align="l" * (2 + swept) + "r" * len(heads),
        rows=tuple(
            (*labels, *(_cell(line, head, metrics, layout) for head, metrics in heads.items()))
            for labels, line in zip(labelled, lines, strict=True)
        ),
        notes=tuple(notes),
        records=tuple(
            _record(layout, line, head, metric)
            for line in lines
            for head, metrics in heads.items()
            for metric in metrics
        ),
    )


def _cell(line: Line, column: str, metrics: Sequence[str], layout: Layout) -> str:
    found = [line.cells.get((column, metric)) for metric in metrics]
    if not any(found):
        return NONE
    starred = "*" if line.partial and column == layout.average else ""
    return " / ".join(f"{one.mean:.1f}" if one else NONE for one in found) + starred


def _record(layout: Layout, line: Line, column: str, metric: str) -> dict[str, Value]:
    summary = line.cells.get((column, metric))
    return {
        "table": layout.number,
        "setting": line.swept,
        "model": line.label,
        "source": line.source,
        "column": column,
        "metric": metric,
        "value": summary.mean if summary else None,
        "sd": summary.sd if summary else None,
        "seeds": summary.n if summary else None,
        "partial": str(line.partial and column == layout.average).lower(),
    }


def _lines(results: Sequence[Result], layout: Layout) -> list[Line]:
    """Orders the lines as the paper does: by size, without SAM before with it, the paper's line first."""
    printed = [row for row in printed_rows() if row.table == layout.number]
    order = list(dict.fromkeys([row.model for row in printed] + sorted({r.model for r in results})))
    lines: list[Line] = []
    for model in order:
        rows = [row for row in printed if row.model == model]
        of_model = [result for result in results if result.model == model]
        if of_model:
            lines += [_printed(row) for row in rows if row.sam_rho is None]
            for result in (result for result in of_model if not result.rho):
                lines += _ours(result, model, layout)
            lines += [_printed(row) for row in rows if row.sam_rho is not None]
            for result in as_in_paper(of_model, layout.number):
                lines += _ours(result, f"{model} + SAM ({result.rho:g})", layout)
    return lines


def _sensitivity(points: Sequence[Point]) -> list[Line]:
    """Makes the three blocks of Table 9, along rho, a and m."""
    of_table = [point for point in points if 9 in tables_of_point(point) and point.with_sam]
    lines: list[Line] = []
    for along in (along for along in find_lines(of_table) if along.setting in SENSITIVITY):
        for value, point in along.points.items():
            for result in (result for result in find_results([point], 9) if result.plain):
                swept, model = f"{SENSITIVITY[along.setting]} = {value:g}", result.model
                usual = result.rho == DEFAULTS["sam.rho"]
                if along.setting == "sam.rho":
                    usual = result.usual_ascent
                place = (9, model, along.setting, value)
                lines += [
                    _printed(row, swept)
                    for row in printed_rows()
                    if usual and (row.table, row.model, row.swept, row.swept_value) == place
                ]
                lines += _ours(result, f"{model} + SAM ({value:g})", layouts()[9], swept)
    return lines


def _printed(row: PrintedRow, swept: str = "") -> Line:
    radius = row.sam_rho if row.swept_value is None else row.swept_value
    cells = {
        (column, metric): Summary(mean=value, sd=math.nan, n=1)
        for column, metrics in row.scores.items()
        for metric, value in metrics.items()
    }
    sam = "" if radius is None else f" + SAM ({radius:g})"
    return Line(label=f"{row.model}{sam}", source="paper", cells=cells, swept=swept)


def _ours(result: Result, label: str, layout: Layout, swept: str = "") -> list[Line]:
    values: dict[tuple[str, str], list[float]] = {}
    for columns in result.runs.values():
        for column, metrics in columns.items():
            for metric, value in metrics.items():
                values.setdefault((column, metric), []).append(value)
    if not values:
        return []
    cells = {key: summarize(of_key) for key, of_key in values.items()}
    source = f"{result.name}, {count(len(result.runs), 'seed')}"
    partial = any(is_partial(columns, layout) for columns in result.runs.values())
    return [Line(label=label, source=source, cells=cells, partial=partial, swept=swept)]


def relative_gain(standard: float, sam: float) -> float:
    """Returns the gain in percent of the baseline's score, cut to one decimal as in the paper's text.

    For example 8.8 for a gain of 8.89%; nan where the standard score is 0.
    """
    if not standard or math.isnan(standard) or math.isnan(sam):
        return math.nan
    # A quotient of decimal numbers falls short of a round value by the rounding of doubles, far below 1e-9.
    gain = 100 * (sam - standard) / standard
    return math.copysign(math.floor(abs(gain) * 10 + 1e-9) / 10, gain)


def gains_table(points: Sequence[Point]) -> Table:
    """Makes the table of gains: of the average where a table has one, else of every column and metric."""
    rows: list[Row] = []
    for number in GAINS:
        layout, results = layouts()[number], find_results(points, number)
        columns: Mapping[str, Iterable[str]] = layout.columns
        if layout.average is not None:
            columns = {layout.average: layout.average_metrics}
        scores = [(column, metric) for column, metrics in columns.items() for metric in metrics]
        baselines = [(beside_sam(one.settings), one) for one in results if one.rho == 0]
        both = [
            (one, baseline)
            for one in as_in_paper(results, number)
            for same, baseline in baselines
            if same == beside_sam(one.settings)
        ]
        for result, baseline, column, metric in ((*pair, *score) for pair in both for score in scores):
            standard, sam = (
                {seed: of[column][metric] for seed, of in one.runs.items() if metric in of.get(column, {})}
                for one in (baseline, result)
            )
            paired = pair_seeds(standard, sam)
            if paired.n == 0:
                continue
            ours = relative_gain(paired.reference.mean, paired.arm.mean)
            theirs = paper_gain(number, result.model, result.rho, column, metric)
            cells = (
                str(number),
                f"{result.model} + SAM ({result.rho:g})",
                f"{column} {metric}",
                spread(paired.reference),
                spread(paired.arm),
                difference_cell(paired),
                str(paired.n),
                *(NONE if math.isnan(gain) else f"{gain:+.1f}%" for gain in (ours, theirs)),
            )
            record: dict[str, Value] = {
                "table": number,
                "model": result.model,
                "rho": result.rho,
                "experiment": result.name,
                "column": column,
                "metric": metric,
                "baseline_mean": paired.reference.mean,
                "sam_mean": paired.arm.mean,
                **paired_record(paired),
                "relative_gain": ours,
                "relative_gain_in_the_paper": theirs,
            }
            rows.append((cells, record))
    return make_table(
        "gains",
        "What SAM gains",
        f">Table, Model, Score, >Baseline, >SAM, >{DIFFERENCE}, >Seeds, >Gain, >Paper's gain",
        rows,
        ["Gain: in percent of the baseline's score, cut to one decimal as in the paper's text."],
    )


def paper_gain(table: int, model: str, rho: float, column: str, metric: str) -> float:
    """Returns the gain that follows from the paper's figures; nan where it has none."""
    found: dict[bool, float] = {}
    for row in printed_rows():
        if (row.table, row.model) == (table, model) and row.sam_rho in (None, rho):
            value = row.scores.get(column, {}).get(metric)
            if value is not None:
                found[row.sam_rho is not None] = value
    return relative_gain(found[False], found[True]) if len(found) == 2 else math.nan
