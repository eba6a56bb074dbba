"""The verdicts of a report: the score that decides on its own, the others beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowland.outcomes.base import Outcome
from lowland.outcomes.score import score
from lowland.report.answer import Judged
from lowland.report.comparison import ScoreRow
from lowland.report.runs import title_of
from lowland.report.selection import AVERAGE
from lowland.statistics import PairedComparison, Verdict, holm

Floors = Mapping[tuple[str, str], float]
"""(evaluation set, metric) -> what a model scores that gives all examples the same answer."""

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


def verdicts_of(rows: Sequence[ScoreRow], floors: Floors) -> list[Verdicts]:
    """Decides all rows of a table of scores: the first one decides, and the others share their own risk.

    Args:
        rows: The rows, the one that decides first.
        floors: The floors that are known; 0 elsewhere.

    Returns:
        A verdict for each row and arm but the reference; none for a single arm.
    """
    compared = [
        (score(row.metric, floors.get((row.evaluation_set, row.metric), 0.0)), row.paired) for row in rows
    ]
    return decide_all(compared[:1]) + decide_all(compared[1:])


def judged(rows: Sequence[ScoreRow], verdicts: Sequence[Verdicts]) -> tuple[list[Judged], list[Judged]]:
    """Puts verdicts as the answer wants them: those of the first row, and all others."""
    everything = [
        [
            Judged(arm=title_of(arm), outcome=outcome_of(row), verdict=verdict)
            for arm, verdict in of_row.items()
        ]
        for row, of_row in zip(rows, verdicts, strict=True)
    ]
    return everything[0], [one for of_row in everything[1:] for one in of_row]


def outcome_of(row: ScoreRow) -> str:
    """Names a row's score, for example `accuracy on glue/sst2`."""
    if row.evaluation_set == AVERAGE:
        return "average score" if row.metric == "all" else f"average {row.metric}"
    return f"{row.metric} on {row.evaluation_set}"
