"""The verdicts of a report: the score that decides on its own, the others beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowland.outcomes.score import score
from lowland.report.answer import Judged
from lowland.report.comparison import AVERAGE, ScoreRow
from lowland.report.runs import title_of
from lowland.statistics import Verdict, decide, holm

Floors = Mapping[tuple[str, str], float]
"""(evaluation set, metric) -> what a model scores that gives all examples the same answer."""

Verdicts = Mapping[str, Verdict]
"""Arm -> its verdict against the reference."""


def verdicts_of(rows: Sequence[ScoreRow], floors: Floors) -> list[Verdicts]:
    """Decides all rows of a table of scores.

    The first row decides, and its arms share the risk of a false verdict by Holm's method; so do all other
    rows and arms among themselves.

    Args:
        rows: The rows, the one that decides first.
        floors: The floors that are known; 0 elsewhere.

    Returns:
        A verdict for each row and arm but the reference; none for a single arm.
    """
    compared = [
        (number, arm, paired) for number, row in enumerate(rows) for arm, paired in row.paired.items()
    ]
    p_values: dict[tuple[int, str], float] = {}
    for family in ([one for one in compared if one[0] == 0], [one for one in compared if one[0]]):
        adjusted = holm([paired.p for _, _, paired in family])
        p_values |= {(number, arm): p for (number, arm, _), p in zip(family, adjusted, strict=True)}
    found: list[dict[str, Verdict]] = [{} for _ in rows]
    for number, arm, paired in compared:
        row = rows[number]
        outcome = score(row.metric)
        found[number][arm] = decide(
            paired,
            margin=outcome.margin,
            floor=floors.get((row.evaluation_set, row.metric), outcome.floor),
            ceiling=outcome.ceiling,
            adjusted_p=p_values[number, arm],
            unit=outcome.unit,
        )
    return list(found)


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
