"""The sentence that says what came out."""

from __future__ import annotations

import math

from lowland.report.comparison import AVERAGE, Comparison, Scored
from lowland.report.selection import Selection
from lowland.report.words import count, duration, signed, spread
from lowland.statistics import PairedComparison


def headline(comparison: Comparison) -> str:
    """Says in one sentence what came out.

    Args:
        comparison: The comparison.

    Returns:
        The sentence, about the first of the selections that are available.
    """
    if not comparison.scored:
        return f"{comparison.experiment.name}: no run has finished with a score yet."
    first, cost = comparison.scored[0], comparison.cost
    row = first.rows[0]
    what = "average score" if row.evaluation_set == AVERAGE else f"{row.metric} on {row.evaluation_set}"
    held_out = first.selection is Selection.HELD_OUT
    way = "at the step chosen on held-out training data" if held_out else "at the last step"
    if row.paired is None:
        (arm, summary), *_ = row.arms.items()
        took = cost.seconds[arm].mean
        time = "" if math.isnan(took) else f"; training took {duration(took)} a run"
        name = "SAM" if arm == "sam" else "Standard training"
        return f"{name}: {what} {spread(summary)} {way} ({count(summary.n, 'seed')}){time}."
    if row.paired.n == 0:
        return "SAM: not enough seeds, because no seed has a score in both arms yet."
    time = "" if math.isnan(cost.ratio) else f"; it took {cost.ratio:.2f} times the training time"
    return f"SAM: {row.paired.verdict} in {what} ({_figures(row.paired)}, {way}){time}."


def in_short(scored: Scored) -> str | None:
    """Says what came out under another selection; `None` where no two runs can be compared."""
    paired = scored.rows[0].paired
    if paired is None or paired.n == 0:
        return None
    return f"{scored.selection.label.capitalize()}: {paired.verdict} ({_figures(paired)})."


def _figures(paired: PairedComparison) -> str:
    figures = [f"{signed(paired.difference)} points"]
    if paired.equal_differences:
        figures.append("the same for every seed")
    elif paired.n > 1:
        figures.append(f"95% interval {signed(paired.low)} to {signed(paired.high)}")
    return ", ".join([*figures, count(paired.n, "seed")])
