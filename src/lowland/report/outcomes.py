"""The outcomes beside the score, out of the files that `lowland.comparison.outcomes` leaves with the runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.outcomes.base import Outcome
from lowland.outcomes.likelihood import FORGETTING, OUTCOMES
from lowland.outcomes.score import score
from lowland.report.answer import Judged
from lowland.report.comparison import Scored, pair_seeds, sum_up
from lowland.report.figures import Bin, Diagrams
from lowland.report.runs import Experiment, title_of
from lowland.report.verdicts import Verdicts, decide_all
from lowland.statistics import PairedComparison, Summary

ALIKE = (
    "These models' outcomes were not all measured alike, and are left out: the command of the experiment "
    "measures them again."
)

ROUNDED = " after "
"""In the name of an outcome that was measured after rounding."""


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """An outcome of an evaluation set.

    Attributes:
        evaluation_set: The set.
        outcome: The outcome.
        arms: Mean and spread of each arm.
        verdicts: Arm -> its verdict against the reference.
    """

    evaluation_set: str
    outcome: Outcome
    arms: Mapping[str, Summary]
    verdicts: Verdicts


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The outcomes of an experiment's models at the steps of one selection.

    Attributes:
        scored: The selection.
        rows: A row for each set and outcome. Those after rounding share the risk of a false verdict, and so
            do all others.
        bins: Evaluation set -> arm -> for each seed the bins of its reliability diagram.
        caveats: Why there are none, where there could be.
    """

    scored: Scored
    rows: tuple[OutcomeRow, ...] = ()
    bins: Diagrams
    caveats: tuple[str, ...] = ()


def read_outcomes(experiment: Experiment, scored: Scored) -> Outcomes:
    """Reads the outcomes of an experiment's models.

    Args:
        experiment: The experiment.
        scored: Scores whose steps are taken.

    Raises:
        UserError: If a file is malformed.
    """
    values: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    bins: dict[str, dict[str, list[Sequence[Bin]]]] = {}
    settings: list[Any] = []
    for arm, steps in scored.steps.items():
        for seed, step in steps.items():
            file = experiment.directory / f"{arm}-seed{seed}" / "outcomes" / f"step-{step}.json"
            if not file.is_file():
                continue
            record = _read(file)
            settings.append(record["settings"])
            for name, of_set in record["sets"].items():
                for outcome, value in of_set["outcomes"].items():
                    number = math.nan if value is None else float(value)
                    values.setdefault((name, outcome), {}).setdefault(arm, {})[seed] = number
                if of_set.get("bins"):
                    bins.setdefault(name, {}).setdefault(arm, []).append(of_set["bins"])
    if any(one != settings[0] for one in settings):
        return Outcomes(scored=scored, bins={}, caveats=(ALIKE,))
    named = [(name, outcome_named(outcome), of_arms) for (name, outcome), of_arms in values.items()]

    def pairs(of_arms: Mapping[str, Mapping[int, float]]) -> dict[str, PairedComparison]:
        reference = of_arms.get(experiment.reference, {})
        others = {arm: of_arm for arm, of_arm in of_arms.items() if arm != experiment.reference}
        looked = bool(experiment.looks)
        return {arm: pair_seeds(reference, of_arm, sequential=looked) for arm, of_arm in others.items()}

    compared = [(outcome, pairs(of_arms)) for _, outcome, of_arms in named]
    # Copies of everything after rounding would be strict with what they are copies of.
    rounded = [ROUNDED in outcome.name for outcome, _ in compared]
    families = {
        of_rounded: iter(
            decide_all([one for one, own in zip(compared, rounded, strict=True) if own is of_rounded])
        )
        for of_rounded in (False, True)
    }
    verdicts = [next(families[of_rounded]) for of_rounded in rounded]
    return Outcomes(
        scored=scored,
        rows=tuple(
            OutcomeRow(
                evaluation_set=name,
                outcome=outcome,
                arms={arm: sum_up(of_arm) for arm, of_arm in of_arms.items()},
                verdicts=of_row,
            )
            for (name, outcome, of_arms), of_row in zip(named, verdicts, strict=True)
        ),
        bins=bins,
    )


def outcome_named(name: str) -> Outcome:
    """Finds what an outcome's name says: its unit, its better direction and its margin."""
    base = name.partition(ROUNDED)[0]
    known = {outcome.name: outcome for outcome in (*OUTCOMES, FORGETTING)}
    return replace(known.get(base) or score(base), name=name)


def judged_outcomes(outcomes: Outcomes) -> list[Judged]:
    """Puts the outcomes' verdicts as the answer wants them."""
    return [
        Judged(arm=title_of(arm), outcome=f"{row.outcome.name} on {row.evaluation_set}", verdict=verdict)
        for row in outcomes.rows
        for arm, verdict in row.verdicts.items()
    ]


def _read(file: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for of_set in record["sets"].values():
            bins = of_set.get("bins") or ()
            values = [one[name] for one in bins for name in ("low", "answers", "confidence", "right")]
            for value in (*of_set["outcomes"].values(), *values):
                if value is not None and not isinstance(value, int | float):
                    raise TypeError
        _ = record["settings"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: these are no outcomes of a model. Remove the file.") from None
    return record
