"""Our results in the layout of the paper's tables, with the paper's figures beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.paper.gains import gains_table
from lowland.paper.layout import LAYOUTS, Layout
from lowland.paper.printed import PrintedRow, printed_rows
from lowland.paper.results import (
    DEFAULTS,
    Columns,
    Result,
    as_in_paper,
    columns_of,
    find_results,
    is_partial,
    tables_of_point,
)
from lowland.report.formats import Table, Value
from lowland.report.points import Point, find_lines
from lowland.report.words import count
from lowland.statistics import Summary, summarize

NONE = "-"
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
SENSITIVITY: Mapping[str, str] = {"sam.rho": "rho", "sam.ascent": "a", "sam.m": "m"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a table, the paper's or ours.

    Attributes:
        label: The model, and SAM with its radius.
        source: `paper`, or the experiment.
        cells: Column -> metric -> mean and spread over seeds.
        partial: Whether columns are missing, so that the average is not the paper's.
        swept: The setting and value of a line of Table 9.
    """

    label: str
    source: str
    cells: Mapping[str, Mapping[str, Summary]]
    partial: bool = False
    swept: str = ""


def paper_tables(points: Sequence[Point]) -> tuple[Table, ...]:
    """Lays results out as the paper's tables.

    Args:
        points: What the experiments scored.

    Returns:
        A table for each of the paper's that any of them belongs to, and one of the relative gains.
    """
    tables = [table for number in LAYOUTS if (table := _table(points, number)) is not None]
    gains = gains_table(points)
    return (*tables, *([gains] if gains.rows else []))


def _table(points: Sequence[Point], number: int) -> Table | None:
    layout = LAYOUTS[number]
    lines = _sensitivity(points) if number == 9 else _lines(find_results(points, number), layout)
    if not lines:
        return None
    heads = [layout.average] if layout.average is not None else []
    heads += list(layout.columns) if layout.shown else []
    metrics = {
        **layout.columns,
        **({layout.average: dict.fromkeys(layout.average_metrics)} if layout.average else {}),
    }
    swept = ["Setting"] if number == 9 else []
    notes = [
        "Every score is the best of all checkpoints, for each task and metric on its own, as in the paper."
    ]
    if any(line.partial for line in lines):
        notes.append("* The average of the columns that are there, which is not the paper's.")
    if any(summary.n > 1 for line in lines for cells in line.cells.values() for summary in cells.values()):
        notes.append("Means over seeds; the paper has one run of each.")
    return Table(
        name=f"table-{number}",
        title=f"Table {number}: {layout.title}",
        columns=(*swept, "Model", "Source", *(_head(head, list(metrics[head])) for head in heads)),
        align="l" * (2 + len(swept)) + "r" * len(heads),
        rows=tuple(
            (
                *([line.swept] if swept else []),
                line.label,
                line.source,
                *(_cell(line, head, list(metrics[head]), layout) for head in heads),
            )
            for line in lines
        ),
        notes=tuple(notes),
        records=tuple(
            _record(number, line, head, metric)
            for line in lines
            for head in heads
            for metric in metrics[head]
        ),
    )


def _head(column: str, metrics: Sequence[str]) -> str:
    return f"{column} {' / '.join(METRICS[metric] for metric in metrics)}".strip()


def _cell(line: Line, column: str, metrics: Sequence[str], layout: Layout) -> str:
    cells = line.cells.get(column, {})
    texts = [f"{cells[metric].mean:.1f}" if metric in cells else NONE for metric in metrics]
    if not cells:
        return NONE
    return " / ".join(texts) + ("*" if line.partial and column == layout.average else "")


def _record(number: int, line: Line, column: str, metric: str) -> dict[str, Value]:
    summary = line.cells.get(column, {}).get(metric)
    return {
        "table": number,
        "setting": line.swept,
        "model": line.label,
        "source": line.source,
        "column": column,
        "metric": metric,
        "value": summary.mean if summary else None,
        "sd": summary.sd if summary else None,
        "seeds": summary.n if summary else None,
        "partial": str(line.partial and column == LAYOUTS[number].average).lower(),
    }


def _lines(results: Sequence[Result], layout: Layout) -> list[Line]:
    """Orders the lines as the paper does: by size, without SAM before with it, the paper's line first."""
    printed = [row for row in printed_rows() if row.table == layout.number]
    order = list(dict.fromkeys([row.model for row in printed] + sorted({r.model for r in results})))
    lines: list[Line] = []
    for model in order:
        of_model = [result for result in results if result.model == model]
        if not of_model:
            continue
        rows = [row for row in printed if row.model == model]
        lines += [_printed(row) for row in rows if row.sam_rho is None]
        for result in (result for result in of_model if not result.rho):
            lines += _ours(result, model, layout)
        lines += [_printed(row) for row in rows if row.sam_rho is not None]
        for result in as_in_paper(of_model, layout.number):
            lines += _ours(result, f"{model} + SAM ({result.rho:g})", layout)
    return lines


def _sensitivity(points: Sequence[Point]) -> list[Line]:
    """Makes the three blocks of Table 9, along rho, a and m."""
    layout = LAYOUTS[9]
    of_table = [point for point in points if 9 in tables_of_point(point) and point.with_sam]
    lines: list[Line] = []
    for along in find_lines(of_table):
        if along.setting not in SENSITIVITY:
            continue
        for value, point in along.points.items():
            for result in find_results([point], 9):
                if not result.plain:
                    continue
                swept, model = f"{SENSITIVITY[along.setting]} = {value:g}", result.model
                usual = (
                    result.usual_ascent if along.setting == "sam.rho" else result.rho == DEFAULTS["sam.rho"]
                )
                lines += [
                    _printed(row, swept)
                    for row in printed_rows()
                    if usual
                    and (row.table, row.model, row.swept, row.swept_value) == (9, model, along.setting, value)
                ]
                lines += _ours(result, f"{model} + SAM ({value:g})", layout, swept)
    return lines


def _printed(row: PrintedRow, swept: str = "") -> Line:
    sam = f" + SAM ({row.sam_rho:g})" if row.sam_rho is not None else ""
    if row.swept_value is not None:
        sam = f" + SAM ({row.swept_value:g})"
    cells = {
        column: {metric: Summary(mean=value, sd=math.nan, n=1) for metric, value in metrics.items()}
        for column, metrics in row.scores.items()
    }
    return Line(label=f"{row.model}{sam}", source="paper", cells=cells, swept=swept)


def _ours(result: Result, label: str, layout: Layout, swept: str = "") -> list[Line]:
    runs: list[Columns] = [columns_of(scores, layout) for scores in result.runs.values()]
    cells: dict[str, dict[str, Summary]] = {}
    for column in dict.fromkeys(column for run in runs for column in run):
        metrics = dict.fromkeys(metric for run in runs for metric in run.get(column, {}))
        cells[column] = {
            metric: summarize([run[column][metric] for run in runs if metric in run.get(column, {})])
            for metric in metrics
        }
    if not cells:
        return []
    source = f"{result.name}, {count(len(runs), 'seed')}"
    partial = any(is_partial(run, layout) for run in runs)
    return [Line(label=label, source=source, cells=cells, partial=partial, swept=swept)]
