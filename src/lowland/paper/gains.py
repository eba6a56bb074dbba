"""What SAM gains, in points and in proportion, beside the paper's gains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from lowland.paper.printed import layouts, printed_rows
from lowland.paper.results import as_in_paper, find_results
from lowland.report.comparison import pair_seeds
from lowland.report.formats import Row, Table, Value, make_table
from lowland.report.points import Point
from lowland.report.tables import DIFFERENCE, NONE, difference_cell, paired_record
from lowland.report.words import spread

GAINS = (1, 2, 3, 4, 5, 6, 7)  # tables 8 and 9 repeat what these say, in more detail


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
        both = [(one, base) for one in as_in_paper(results, number) if (base := one.baseline_of(results))]
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
