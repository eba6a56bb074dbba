"""The verdicts of a report, and the sentences that say what came out.

The score that decides has a verdict of its own; the other scores share the risk of a false one, and so do
the outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lowland.outcomes.base import Outcome
from lowland.outcomes.score import score
from lowland.report.answer import Judged, answer
from lowland.report.comparison import Comparison, Scored, ScoreRow
from lowland.report.runs import title_of
from lowland.report.selection import AVERAGE, Key, Selection
from lowland.report.words import count, duration, signed, spread
from lowland.statistics import PairedComparison, Verdict, holm, summarize

Verdicts = Mapping[str, Verdict]
"""Arm -> its verdict against the reference."""


def decide_all(compared: Sequence[tuple[Outcome, Mapping[str, PairedComparison]]]) -> list[Verdicts]:
    """Decides several outcomes and arms, which share the risk of a false verdict by Holm's method.

    Args:
        compared: Of each outcome, arm -> its comparison with the reference.
    """
    adjusted = iter(holm([paired.p for _, of_arms in compared for paired in of_arms.values()]))
    return [
        {arm: outcome.judge(paired, adjusted_p=next(adjusted)) for arm, paired in of_arms.items()}
        for outcome, of_arms in compared
    ]


def verdicts_of(rows: Sequence[ScoreRow], floors: Mapping[Key, float]) -> list[Verdicts]:
    """Decides all rows of a table of scores, of which the first one decides.

    Args:
        rows: The rows.
        floors: What a model scores that gives all examples the same answer, where it is known; else 0.

    Returns:
        A verdict for each row and arm but the reference; none for a single arm.
    """
    compared = [
        (score(row.metric, floors.get((row.evaluation_set, row.metric), 0.0)), row.paired) for row in rows
    ]
    return decide_all(compared[:1]) + decide_all(compared[1:])


def outcome_of(row: ScoreRow) -> str:
    """Names a row's score, for example `accuracy on glue/sst2`."""
    if row.evaluation_set == AVERAGE:
        return "average score" if row.metric == "all" else f"average {row.metric}"
    return f"{row.metric} on {row.evaluation_set}"


def headline(comparison: Comparison, verdicts: Sequence[Verdicts]) -> str:
    """Says in one sentence what came out by the first of the selections that are available.

    Args:
        comparison: The comparison.
        verdicts: The verdicts of that selection's rows.
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
    return " ".join(
        f"{title_of(arm)}: {verdicts[0][arm].words}{against} in {what} ({_figures(paired)}, {way})."
        if paired.n
        else f"{title_of(arm)}: not enough seeds, because no seed has a score in both arms yet."
        for arm, paired in row.paired.items()
    )


def in_short(scored: Scored, verdicts: Sequence[Verdicts]) -> list[str]:
    """Says what came out under another selection; nothing where no two runs can be compared."""
    compared = {arm: paired for arm, paired in scored.rows[0].paired.items() if paired.n}
    parts = [
        f"{f'{title_of(arm)} ' if len(compared) > 1 else ''}{verdicts[0][arm].words} ({_figures(paired)})"
        for arm, paired in compared.items()
    ]
    return [f"{scored.selection.label.capitalize()}: {'; '.join(parts)}."] if parts else []


def answer_of(
    comparison: Comparison, verdicts: Sequence[Verdicts], beside: Sequence[Judged]
) -> tuple[str, ...]:
    """Says in four lines what came out and what to do; nothing where no two arms can be compared.

    Args:
        comparison: The comparison.
        verdicts: The verdicts of the first selection's rows.
        beside: Verdicts on outcomes beside the scores.
    """
    if not verdicts or len(comparison.experiment.arms) < 2:
        return ()
    first = comparison.scored[0]
    judged = [
        [Judged(arm=title_of(arm), outcome=outcome_of(row), verdict=one) for arm, one in of_row.items()]
        for row, of_row in zip(first.rows, verdicts, strict=True)
    ]
    others = [one for of_row in judged[1:] for one in of_row]
    return answer(title_of(comparison.experiment.reference), judged[0], [*others, *beside], way_of(first))


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
