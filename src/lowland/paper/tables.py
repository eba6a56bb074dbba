"""The paper's tables and figures with our results beside its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lowland.paper.printed import Layout, PrintedRow, layouts, printed_rows
from lowland.paper.results import DEFAULTS, Columns, Result, find_results, tables_of_point
from lowland.report.along import Point, draw_panels, find_lines, find_points, setting_figures
from lowland.report.formats import Row, Table, Value, make_table
from lowland.report.runs import Experiment
from lowland.report.selection import AVERAGE, Selection
from lowland.report.tables import NONE
from lowland.report.words import count
from lowland.report.write import Written, write_together

METRICS: Mapping[str, str] = {  # those that the paper writes otherwise
    "f1": "F1",
    "em": "EM",
    "exact_match": "EM",
    "accuracy": "acc.",
    "matthews": "MCC",
    "matched_accuracy": "m",
    "mismatched_accuracy": "mm",
    "average": "",
}
SENSITIVITY: Mapping[str, str] = {"sam.rho": "rho", "sam.ascent": "a", "sam.m": "m"}


def write_paper(experiments: Sequence[Experiment], out: Path) -> Written:
    """Writes the paper's tables and figures; runs with the same settings count together."""
    points = find_points(experiments)
    tables = paper_tables(points)
    head = "# As in the paper\n"
    if not tables:
        head += "\nNone of the experiments is like any in the paper's tables.\n"
    return write_together(out / "paper.md", head, tables, lambda: _figures(points))


def _figures(points: Sequence[Point]) -> dict[str, bytes]:
    """Draws Figure 1, closed-book questions along the fraction of the data, and Figure 2, SAM's settings."""
    lines = find_lines(points)
    fraction = setting_figures([one for one in lines if one.setting == "data.fraction"], Selection.BEST)
    files = {name.replace("fraction", "figure-1"): content for name, content in fraction.items()}
    of_table = [line for line in lines if 9 in tables_of_point(next(iter(line.points.values())))]
    along = [[line for line in of_table if line.setting == setting] for setting in SENSITIVITY]
    panels = [(found, (AVERAGE, "all")) for found in along if found]
    return files | (draw_panels("figure-2", panels, Selection.BEST) if panels else {})


def paper_tables(points: Sequence[Point]) -> list[Table]:
    """Makes those of the paper's tables that any point belongs to."""
    tables = (_table(points, layout) for layout in layouts().values())
    return [table for table in tables if table.rows]


def _table(points: Sequence[Point], layout: Layout) -> Table:
    swept = layout.number == 9
    rows = _sensitivity(points, layout) if swept else _rows(find_results(points, layout), layout)
    notes = [
        "Every score is the best of all checkpoints, for each task and metric on its own, as in the paper."
    ]
    if any(record["partial"] == "true" for _, record in rows):
        notes.append("* The average of the columns that are there, which is not the paper's.")
    if any(len(point.runs) > 1 for point in points if layout.number in tables_of_point(point)):
        notes.append("Means over seeds; the paper has one run of each.")
    metrics = {
        head: " / ".join(METRICS.get(one, one.capitalize()) for one in of)
        for head, of in layout.heads.items()
    }
    heads = [f">{head} {of}".strip() for head, of in metrics.items()]
    columns = [*(["Setting"] if swept else []), "Model", "Source", *heads]
    return make_table(
        f"table-{layout.number}", f"Table {layout.number}: {layout.title}", columns, rows, notes
    )


def _row(
    layout: Layout, label: str, source: str, columns: Columns, *, partial: bool = False, swept: str = ""
) -> Row:
    """Makes one line of a table, the paper's or ours; `partial` where columns are missing."""
    record: dict[str, Value] = {"model": label, "source": source, "partial": str(partial).lower()}
    texts = [label, source]
    if swept:
        texts, record = [swept, *texts], {"setting": swept, **record}
    for column, metrics in layout.heads.items():
        means = columns.get(column, {})
        record |= {f"{column} {metric}": means.get(metric) for metric in metrics}
        text = " / ".join(f"{means[metric]:.1f}" if metric in means else NONE for metric in metrics)
        starred = "*" if partial and column == layout.average else ""
        texts.append(text + starred if means else NONE)
    return tuple(texts), record


def _rows(results: Sequence[Result], layout: Layout) -> list[Row]:
    """Orders the lines as the paper does: by size, without SAM before with it, the paper's line first."""
    printed = [row for row in printed_rows() if row.table == layout.number]
    lines: list[Row] = []
    for model in dict.fromkeys([row.model for row in printed] + sorted({one.model for one in results})):
        rows = [row for row in printed if row.model == model]
        own = [one for one in results if one.model == model and one.means]
        if own:
            with_sam = [one for one in own if one.rho and one.plain]
            # Other numbers of ascent examples or points are in Table 9, unless there is nothing else.
            usual = [one for one in with_sam if one.usual_ascent] or with_sam
            lines += [_printed(row, layout) for row in rows if row.sam_rho is None]
            lines += [_ours(one, model, layout) for one in own if not one.rho]
            lines += [_printed(row, layout) for row in rows if row.sam_rho is not None]
            lines += [_ours(one, f"{model} + SAM ({one.rho:g})", layout) for one in usual]
    return lines


def _sensitivity(points: Sequence[Point], layout: Layout) -> list[Row]:
    """Makes the three blocks of Table 9, along rho, a and m."""
    of_table = [point for point in points if 9 in tables_of_point(point) and point.with_sam]
    lines: list[Row] = []
    for along in (along for along in find_lines(of_table) if along.setting in SENSITIVITY):
        for value, point in along.points.items():
            for result in (one for one in find_results([point], layout) if one.plain and one.means):
                swept, model = f"{SENSITIVITY[along.setting]} = {value:g}", result.model
                by_rho = along.setting == "sam.rho"
                usual = result.usual_ascent if by_rho else result.rho == DEFAULTS["sam.rho"]
                place = (9, model, along.setting, value)
                lines += [
                    _printed(row, layout, swept)
                    for row in printed_rows()
                    if usual and (row.table, row.model, row.swept, row.swept_value) == place
                ]
                lines.append(_ours(result, f"{model} + SAM ({value:g})", layout, swept))
    return lines


def _printed(row: PrintedRow, layout: Layout, swept: str = "") -> Row:
    radius = row.sam_rho if row.swept_value is None else row.swept_value
    sam = "" if radius is None else f" + SAM ({radius:g})"
    return _row(layout, f"{row.model}{sam}", "paper", row.scores, swept=swept)


def _ours(result: Result, label: str, layout: Layout, swept: str = "") -> Row:
    source = f"{result.name}, {count(len(result.runs), 'seed')}"
    wanted = {column: len(metrics) for column, metrics in layout.columns.items()}
    partial = any(len(of.get(one, ())) < n for of in result.runs.values() for one, n in wanted.items())
    return _row(layout, label, source, result.means, partial=partial, swept=swept)
