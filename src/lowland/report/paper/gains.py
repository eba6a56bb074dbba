"""What SAM gains, in points and in proportion, beside the paper's gains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lowland.report.comparison import Comparison
from lowland.report.formats import Table, Value
from lowland.report.paper.layout import LAYOUTS, Layout
from lowland.report.paper.printed import printed_rows
from lowland.report.paper.results import BASELINE, Result, as_in_paper, columns_of, find_results, tables_of
from lowland.report.tables import DIFFERENCE, NONE, paired_cells, paired_record
from lowland.report.words import spread
from lowland.statistics import PairedComparison, compare_pairs

GAINS = (1, 2, 3, 4, 5, 6, 7)
"""Tables 8 and 9 repeat what these say, in more detail."""


def relative_gain(standard: float, sam: float) -> float:
    """Returns the gain in percent of the baseline's score, cut to one decimal as in the paper's text.

    Args:
        standard: Score without SAM.
        sam: Score with SAM.

    Returns:
        For example 8.8 for a gain of 8.89%; nan where the standard score is 0.
    """
    if not standard or math.isnan(standard) or math.isnan(sam):
        return math.nan
    # A quotient of decimal numbers falls short of a round value by the rounding of doubles, far below 1e-9.
    gain = 100 * (sam - standard) / standard
    return math.copysign(math.floor(abs(gain) * 10 + 1e-9) / 10, gain)


def gains_table(comparisons: Sequence[Comparison]) -> Table:
    """Makes the table of gains: of the average where a table has one, else of every column and metric.

    Args:
        comparisons: The experiments.
    """
    rows: list[tuple[str, ...]] = []
    records: list[dict[str, Value]] = []
    for number in (number for number in tables_of(comparisons) if number in GAINS):
        layout = LAYOUTS[number]
        for result in as_in_paper(find_results(comparisons, number), number):
            for column, metric in _scores(layout):
                paired = _paired(result, layout, column, metric)
                if paired.n == 0:
                    continue
                ours = relative_gain(paired.reference.mean, paired.arm.mean)
                theirs = paper_gain(number, result.place.model, result.rho, column, metric)
                rows.append(
                    (
                        str(number),
                        f"{result.place.model} + SAM ({result.rho:g})",
                        f"{column} {metric}",
                        spread(paired.reference),
                        spread(paired.arm),
                        *paired_cells(paired)[:2],
                        _percent(ours),
                        _percent(theirs),
                    )
                )
                records.append(
                    {
                        "table": number,
                        "model": result.place.model,
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
                )
    return Table(
        name="gains",
        title="What SAM gains",
        columns=("Table", "Model", "Score", "Baseline", "SAM", DIFFERENCE, "Seeds", "Gain", "Paper's gain"),
        align="rllrrrrrr",
        rows=tuple(rows),
        notes=("Gain: in percent of the baseline's score, cut to one decimal as in the paper's text.",),
        records=tuple(records),
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


def _scores(layout: Layout) -> Iterator[tuple[str, str]]:
    if layout.average is not None:
        yield from ((layout.average, metric) for metric in layout.average_metrics)
    else:
        yield from ((column, metric) for column, metrics in layout.columns.items() for metric in metrics)


def _paired(result: Result, layout: Layout, column: str, metric: str) -> PairedComparison:
    """Compares the arms seed by seed."""
    values = {
        arm: {
            seed: columns[column][metric]
            for seed, scores in runs.items()
            if metric in (columns := columns_of(scores, layout)).get(column, {})
        }
        for arm, runs in result.runs.items()
    }
    standard, sam = values.get(BASELINE, {}), values.get("sam", {})
    seeds = [seed for seed in standard if seed in sam]
    return compare_pairs([standard[seed] for seed in seeds], [sam[seed] for seed in seeds])


def _percent(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:+.1f}%"
