"""The sentence that says what came out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType

from lowland.report.answer import Judged, answer, recommended
from lowland.report.comparison import Comparison, Scored
from lowland.report.runs import title_of
from lowland.report.selection import Selection
from lowland.report.verdicts import Floors, judged, outcome_of, verdicts_of
from lowland.report.words import count, duration, signed, spread
from lowland.statistics import PairedComparison, summarize


def headline(comparison: Comparison, floors: Floors = MappingProxyType({})) -> str:
    """Says in one sentence what came out.

    Args:
        comparison: The comparison.
        floors: See `verdicts_of`.

    Returns:
        The sentence, about the first of the selections that are available.
    """
    if not comparison.scored:
        return f"{comparison.experiment.name}: no run has finished with a score yet."
    first = comparison.scored[0]
    row = first.rows[0]
    what, way = outcome_of(row), way_of(first)
    if not row.paired:
        ((arm, summary),) = row.arms.items()
        took = summarize(list(comparison.seconds[arm].values())).mean
        time = "" if math.isnan(took) else f"; training took {duration(took)} a run"
        return f"{title_of(arm)}: {what} {spread(summary)} {way} ({count(summary.n, 'seed')}){time}."
    reference = comparison.experiment.reference
    against = "" if reference == "baseline" else f" against {title_of(reference)}"
    verdicts = verdicts_of(first.rows[:1], floors)[0]
    sentences = []
    for arm, paired in row.paired.items():
        if paired.n == 0:
            sentences.append(
                f"{title_of(arm)}: not enough seeds, because no seed has a score in both arms yet."
            )
            continue
        sentences.append(
            f"{title_of(arm)}: {verdicts[arm].words}{against} in {what} ({_figures(paired)}, {way})."
        )
    return " ".join(sentences)


def in_short(scored: Scored) -> str | None:
    """Says what came out under another selection; `None` where no two runs can be compared."""
    compared = {arm: paired for arm, paired in scored.rows[0].paired.items() if paired.n}
    verdicts = verdicts_of(scored.rows[:1], {})[0]
    parts = [
        f"{f'{title_of(arm)} ' if len(compared) > 1 else ''}{verdicts[arm].words} ({_figures(paired)})"
        for arm, paired in compared.items()
    ]
    return f"{scored.selection.label.capitalize()}: {'; '.join(parts)}." if parts else None


def answer_of(comparison: Comparison, floors: Floors, beside: Sequence[Judged] = ()) -> tuple[str, ...]:
    """Says in four lines what came out and what to do; nothing where no two arms can be compared.

    Args:
        comparison: The comparison.
        floors: See `verdicts_of`.
        beside: Verdicts on outcomes beside the scores.
    """
    if not comparison.scored or len(comparison.experiment.arms) < 2:
        return ()
    first = comparison.scored[0]
    scores, others = judged(first.rows, verdicts_of(first.rows, floors))
    return answer(title_of(comparison.experiment.reference), scores, [*others, *beside], way_of(first))


def recommended_of(comparison: Comparison, floors: Floors) -> str | None:
    """Names the arm to use, by the verdicts of the score that decides; `None` before anything is scored."""
    if not comparison.scored:
        return None
    verdicts = verdicts_of(comparison.scored[0].rows[:1], floors)[0]
    return recommended(comparison.experiment.reference, verdicts)


def way_of(scored: Scored) -> str:
    """Says where scores are from."""
    held_out = scored.selection is Selection.HELD_OUT
    return "at the step chosen on held-out training data" if held_out else "at the last step"


def _figures(paired: PairedComparison) -> str:
    figures = [f"{signed(paired.difference)} points"]
    if paired.equal_differences:
        figures.append("the same for every seed")
    elif math.isfinite(paired.low):
        figures.append(f"95% interval {signed(paired.low)} to {signed(paired.high)}")
    return ", ".join([*figures, count(paired.n, "seed")])
