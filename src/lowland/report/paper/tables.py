"""Our results in the layout of the paper's tables, with the paper's figures beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.report.comparison import Comparison
from lowland.report.formats import Table, Value
from lowland.report.grid import find_axes
from lowland.report.paper.gains import gains_table
from lowland.report.paper.layout import LAYOUTS, Layout
from lowland.report.paper.printed import PrintedRow, printed_rows
from lowland.report.paper.recognize import recognize
from lowland.report.paper.results import (
    BASELINE,
    DEFAULT_RHO,
    Columns,
    Result,
    as_in_paper,
    columns_of,
    find_results,
    is_partial,
    tables_of,
)
from lowland.report.selection import Scores
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


def paper_tables(comparisons: Sequence[Comparison], *, always: bool | None = None) -> tuple[Table, ...]:
    """Lays experiments out as the paper's tables.

    Args:
        comparisons: The experiments.
        always: Whether to do so for other models than the paper's too; otherwise nothing is made unless
            one of the experiments is of a model of the paper.

    Returns:
        A table for each of the paper's that any of them belongs to, and one of the relative gains.
    """
    if not always and not any(recognize(comparison.experiment).known for comparison in comparisons):
        return ()
    tables = [
        table for number in tables_of(comparisons) if (table := _table(comparisons, number)) is not None
    ]
    if not tables:
        return ()
    gains = gains_table(comparisons)
    return (*tables, *([gains] if gains.rows else []))


def _table(comparisons: Sequence[Comparison], number: int) -> Table | None:
    layout = LAYOUTS[number]
    lines = _sensitivity(comparisons) if number == 9 else _lines(find_results(comparisons, number), layout)
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
    order = list(dict.fromkeys([row.model for row in printed] + sorted({r.place.model for r in results})))
    lines: list[Line] = []
    for model in order:
        of_model = [result for result in results if result.place.model == model]
        if not of_model:
            continue
        rows = [row for row in printed if row.model == model]
        lines += [_printed(row) for row in rows if row.sam_rho is None]
        seen: list[Mapping[int, Scores]] = []
        for result in of_model:
            runs = result.runs.get(BASELINE, {})
            # Experiments that differ in SAM only have the same baseline runs.
            if runs and runs not in seen:
                seen.append(runs)
                lines += _ours(result, BASELINE, model, layout)
        lines += [_printed(row) for row in rows if row.sam_rho is not None]
        for result in as_in_paper(of_model, layout.number):
            lines += _ours(result, "sam", f"{model} + SAM ({result.rho:g})", layout)
    return lines


def _sensitivity(comparisons: Sequence[Comparison]) -> list[Line]:
    """Makes the three blocks of Table 9, along rho, a and m."""
    layout = LAYOUTS[9]
    of_table = [c for c in comparisons if 9 in recognize(c.experiment).tables]
    lines: list[Line] = []
    for axis in find_axes(of_table):
        if axis.setting not in SENSITIVITY:
            continue
        for value, comparison in zip(axis.values, axis.comparisons, strict=True):
            for result in find_results([comparison], 9):
                if not result.plain:
                    continue
                swept = f"{SENSITIVITY[axis.setting]} = {value:g}"
                model = result.place.model
                usual = (axis.setting == "sam.rho" or result.rho == DEFAULT_RHO) and (
                    axis.setting != "sam.rho" or result.usual_ascent
                )
                lines += [
                    _printed(row, swept)
                    for row in printed_rows()
                    if usual
                    and (row.table, row.model, row.swept, row.swept_value) == (9, model, axis.setting, value)
                ]
                lines += _ours(result, "sam", f"{model} + SAM ({value:g})", layout, swept)
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


def _ours(result: Result, arm: str, label: str, layout: Layout, swept: str = "") -> list[Line]:
    runs: list[Columns] = [columns_of(scores, layout) for scores in result.runs.get(arm, {}).values()]
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
