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
from lowland.report.comparison import Scored, against_first
from lowland.report.figures import Bin, Diagrams
from lowland.report.runs import Experiment, title_of
from lowland.report.verdicts import Verdicts, decide_all
from lowland.statistics import Summary

ALIKE = (
    "These models' outcomes were not all measured alike, and are left out: the command of the experiment "
    "measures them again."
)

ROUNDED = " after "
"""In the name of an outcome that was measured after rounding."""


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """An outcome of an evaluation set."""

    evaluation_set: str
    outcome: Outcome
    arms: Mapping[str, Summary]  # the reference first
    verdicts: Verdicts


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The outcomes of an experiment's models at the steps of one selection."""

    scored: Scored
    rows: tuple[OutcomeRow, ...] = ()  # a row for each set and outcome
    bins: Diagrams
    caveats: tuple[str, ...] = ()  # why there are none, where there could be

    @property
    def judged(self) -> list[Judged]:
        """The verdicts as the answer wants them."""
        return [
            Judged(arm=title_of(arm), outcome=f"{row.outcome.name} on {row.evaluation_set}", verdict=verdict)
            for row in self.rows
            for arm, verdict in row.verdicts.items()
        ]


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
    for arm, seed, step in ((a, seed, step) for a, of in scored.steps.items() for seed, step in of.items()):
        file = experiment.folder(arm, seed) / "outcomes" / f"step-{step}.json"
        if not file.is_file():
            continue
        record = _read(file)
        settings.append(record["settings"])
        for name, of_set in record["sets"].items():
            for outcome, value in of_set["outcomes"].items():
                of_arms = values.setdefault((name, outcome), {experiment.reference: {}})
                of_arms.setdefault(arm, {})[seed] = math.nan if value is None else float(value)
            if of_set.get("bins"):
                bins.setdefault(name, {}).setdefault(arm, []).append(of_set["bins"])
    if any(one != settings[0] for one in settings):
        return Outcomes(scored=scored, bins={}, caveats=(ALIKE,))
    found = {key: against_first(own, sequential=bool(experiment.looks)) for key, own in values.items()}
    verdicts: dict[tuple[str, str], Verdicts] = {}
    # Those after rounding share the risk of a false verdict, and so do all others: copies of everything
    # would be strict with what they are copies of.
    for rounded in (False, True):
        family = [key for key in found if (ROUNDED in key[1]) is rounded]
        decided = decide_all([(outcome_named(key[1]), found[key][1]) for key in family])
        verdicts |= zip(family, decided, strict=True)
    rows = [
        OutcomeRow(evaluation_set=key[0], outcome=outcome_named(key[1]), arms=arms, verdicts=verdicts[key])
        for key, (arms, _) in found.items()
    ]
    return Outcomes(scored=scored, rows=tuple(rows), bins=bins)


def outcome_named(name: str) -> Outcome:
    """Finds what an outcome's name says: its unit, its better direction and its margin."""
    base = name.partition(ROUNDED)[0]
    known = {outcome.name: outcome for outcome in (*OUTCOMES, FORGETTING)}
    return replace(known.get(base) or score(base), name=name)


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
