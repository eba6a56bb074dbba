"""The sentence that says what came out."""

from __future__ import annotations

import math

from lowland.report.comparison import AVERAGE, Comparison
from lowland.report.selection import Selection
from lowland.report.words import count, duration, signed, spread


def headline(comparison: Comparison) -> str:
    """Says in one sentence what came out.

    Args:
        comparison: The comparison.

    Returns:
        The sentence.
    """
    row, cost = comparison.headline_row, comparison.cost
    if row is None:
        return (
            f"{comparison.experiment.name}: no run has finished with a score, so there is nothing to say yet."
        )
    what = "average score" if row.evaluation_set == AVERAGE else f"{row.metric} on {row.evaluation_set}"
    way = {
        Selection.LAST_STEP: "at the last step",
        Selection.HELD_OUT: "at the step chosen on held-out training data",
        Selection.BEST: "at the best step on the evaluation set",
    }[comparison.scored[0].selection]
    if row.paired is None:
        (arm, summary), *_ = row.arms.items()
        took = cost.seconds[arm].mean
        time = "" if math.isnan(took) else f"; training took {duration(took)} a run"
        name = "SAM" if arm == "sam" else "Standard training"
        return f"{name}: {what} {spread(summary)} {way} ({count(summary.n, 'seed')}){time}."
    paired = row.paired
    took_times = "" if math.isnan(cost.ratio) else f"; it took {cost.ratio:.2f} times the training time"
    if paired.n == 0:
        return "SAM: not enough seeds, because no seed has a score in both arms yet."
    points = f"{signed(paired.difference)} points"
    if paired.n == 1:
        return f"SAM: not enough seeds to tell in {what} ({points} {way}, 1 seed){took_times}."
    interval = (
        "the same for every seed"
        if paired.equal_differences
        else f"95% interval {signed(paired.low)} to {signed(paired.high)}"
    )
    pairs = count(paired.n, "seed")
    return f"SAM: {paired.verdict} in {what} ({points}, {interval}, {pairs}, {way}){took_times}."
