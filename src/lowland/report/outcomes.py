"""The outcomes beside the score, out of the files that `lowland.comparison.outcomes` leaves with the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lowland.outcomes.base import Outcome, score
from lowland.outcomes.likelihood import FORGETTING, OUTCOMES
from lowland.report.comparison import Measured, Scored, against_first, decide_together
from lowland.report.figures import BIN, Bin, Diagrams
from lowland.report.runs import Experiment, number, parse, reading, take

ROUNDED = " after "  # in the name of an outcome that was measured after rounding


def read_outcomes(experiment: Experiment, scored: Scored) -> tuple[list[Measured], Diagrams]:
    """Reads the outcomes of an experiment's models at the steps of some scores, and reliability diagrams."""
    values: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    bins: dict[str, dict[str, list[Sequence[Bin]]]] = {}
    named = experiment.directory / "outcomes.json"
    if not named.is_file():
        return [], {}
    with reading(named):
        alike = take(parse(named.read_bytes(), named), "folder", str)
    for arm, seed, step in ((a, seed, step) for a, of in scored.steps.items() for seed, step in of.items()):
        file = experiment.folder(arm, seed) / "outcomes" / alike / f"step-{step}.json"
        if not file.is_file():
            continue
        record = parse(file.read_bytes(), file)
        with reading(file):
            for name, of_set in take(record, "sets", dict).items():
                outcomes = take(of_set, "outcomes", dict)
                for outcome in outcomes:
                    of_arms = values.setdefault((name, outcome), {experiment.reference: {}})
                    of_arms.setdefault(arm, {})[seed] = number(outcomes, outcome)
                if of_set.get("bins"):
                    found = [{key: number(one, key) for key in BIN} for one in of_set["bins"]]
                    bins.setdefault(name, {}).setdefault(arm, []).append(found)
    rows = []
    for (name, outcome), of_arms in values.items():
        arms, paired = against_first(of_arms, sequential=bool(experiment.looks))
        rows.append(Measured(evaluation_set=name, outcome=outcome_named(outcome), arms=arms, paired=paired))
    # Those after rounding share the risk of a false verdict, and so do all others: copies of everything
    # would be strict with what they are copies of.
    families = ([row for row in rows if (ROUNDED in row.metric) is rounded] for rounded in (False, True))
    decided = {
        (row.evaluation_set, row.metric): row for family in families for row in decide_together(family)
    }
    return [decided[row.evaluation_set, row.metric] for row in rows], bins


def outcome_named(name: str) -> Outcome:
    """Finds what an outcome's name says: its unit, its better direction and its margin."""
    base = name.partition(ROUNDED)[0]
    known = {outcome.name: outcome for outcome in (*OUTCOMES, FORGETTING)}
    return replace(known.get(base) or score(base), name=name)
