"""The outcomes beside the score, out of the files that `lowland.comparison.outcomes` leaves with the runs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.outcomes.base import Outcome
from lowland.outcomes.likelihood import FORGETTING, OUTCOMES
from lowland.outcomes.score import score
from lowland.report.comparison import Measured, Scored, against_first, decide_together
from lowland.report.figures import Bin, Diagrams
from lowland.report.runs import Experiment

ALIKE = (
    "These models' outcomes were not all measured alike, and are left out: the command of the experiment "
    "measures them again."
)

ROUNDED = " after "  # in the name of an outcome that was measured after rounding


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The outcomes of an experiment's models at the steps of one selection."""

    rows: tuple[Measured, ...] = ()  # a row for each set and outcome
    bins: Diagrams
    caveats: tuple[str, ...] = ()  # why there are none, where there could be


def read_outcomes(experiment: Experiment, scored: Scored) -> Outcomes:
    """Reads the outcomes of an experiment's models at the steps of some scores."""
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
        return Outcomes(bins={}, caveats=(ALIKE,))
    rows = []
    for (name, outcome), of_arms in values.items():
        arms, paired = against_first(of_arms, sequential=bool(experiment.looks))
        rows.append(Measured(evaluation_set=name, outcome=outcome_named(outcome), arms=arms, paired=paired))
    # Those after rounding share the risk of a false verdict, and so do all others: copies of everything
    # would be strict with what they are copies of.
    families: dict[bool, list[Measured]] = {False: [], True: []}
    for row in rows:
        families[ROUNDED in row.metric].append(row)
    decided = {rounded: iter(decide_together(family)) for rounded, family in families.items()}
    return Outcomes(rows=tuple(next(decided[ROUNDED in row.metric]) for row in rows), bins=bins)


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
