"""The outcomes beside the score, out of the files that measuring them leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.outcomes.base import Outcome
from lowland.outcomes.forgetting import FORGETTING
from lowland.outcomes.likelihood import OUTCOMES
from lowland.outcomes.score import score
from lowland.report.answer import Judged
from lowland.report.formats import Table, Value
from lowland.report.runs import Experiment, title_of
from lowland.statistics import PairedComparison, Summary, Verdict, compare_pairs, holm, summarize

FOLDER = "outcomes"


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
    verdicts: Mapping[str, Verdict]


def read_outcomes(experiment: Experiment) -> tuple[OutcomeRow, ...]:
    """Reads the outcomes of an experiment's models.

    Args:
        experiment: The experiment.

    Returns:
        A row for each set and outcome, the verdicts of all of them Holm's; none where nothing was measured.

    Raises:
        UserError: If a file cannot be read, or not all were measured alike.
    """
    values: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    alike: dict[str, Any] = {}
    for arm in experiment.arms:
        for seed in experiment.seeds:
            file = experiment.directory / FOLDER / f"{arm}-seed{seed}.json"
            if not file.is_file():
                continue
            record = _read(file)
            if alike.setdefault("settings", record["settings"]) != record["settings"]:
                raise UserError(
                    f"{file.parent} holds outcomes that were measured by different settings. Remove it, and "
                    "measure all of them again."
                )
            for name, of_set in record["sets"].items():
                for outcome, value in of_set["outcomes"].items():
                    of_arms = values.setdefault((name, outcome), {})
                    of_arms.setdefault(arm, {})[seed] = math.nan if value is None else float(value)
    rows = [_row(experiment, *key, of_arms) for key, of_arms in values.items()]
    compared = [(row, arm, verdict.p) for row in rows for arm, verdict in row.verdicts.items()]
    adjusted = holm([p for _, _, p in compared])
    again: dict[tuple[int, str], float] = {
        (id(row), arm): p for (row, arm, _), p in zip(compared, adjusted, strict=True)
    }
    return tuple(
        replace(
            row,
            verdicts={
                arm: row.outcome.judge(verdict.comparison, adjusted_p=again[id(row), arm])
                for arm, verdict in row.verdicts.items()
            },
        )
        for row in rows
    )


def outcome_named(name: str) -> Outcome:
    """Finds what an outcome's name says: its unit, its better direction and its margin."""
    base, after, _ = name.partition(" after ")
    known = {outcome.name: outcome for outcome in (*OUTCOMES, FORGETTING)}
    return replace(known.get(base) or score(base), name=name) if after else known.get(base) or score(base)


def outcome_table(rows: tuple[OutcomeRow, ...]) -> Table:
    """Makes the table of outcomes.

    Args:
        rows: One or more.

    Returns:
        A row for each set, outcome and arm but the reference.
    """
    cells: list[tuple[str, ...]] = []
    records: list[dict[str, Value]] = []
    reference = next(iter(rows[0].arms))
    for row in rows:
        for arm, verdict in row.verdicts.items():
            found = verdict.comparison
            cells.append(
                (
                    row.evaluation_set,
                    f"{row.outcome.name} ({row.outcome.unit})" if row.outcome.unit else row.outcome.name,
                    title_of(arm),
                    _mean(found.reference, row.outcome),
                    _mean(found.arm, row.outcome),
                    _difference(found, row.outcome),
                    str(found.n),
                    verdict.words,
                )
            )
            records.append(
                {
                    "evaluation_set": row.evaluation_set,
                    "outcome": row.outcome.name,
                    "unit": row.outcome.unit,
                    "better": row.outcome.better,
                    "margin": row.outcome.margin,
                    "arm": arm,
                    "reference_mean": found.reference.mean,
                    "arm_mean": found.arm.mean,
                    "difference": found.difference,
                    "interval_low": found.low,
                    "interval_high": found.high,
                    "seeds": found.n,
                    "p_adjusted": verdict.p,
                    "verdict": verdict.kind.value,
                }
            )
    return Table(
        name="outcomes",
        title="Outcomes of the models beside the score",
        columns=(
            "Evaluation set",
            "Outcome",
            "Arm",
            title_of(reference),
            "Arm's",
            "Difference (95% interval)",
            "Seeds",
            "Arm is",
        ),
        align="lllrrrrl",
        rows=tuple(cells),
        notes=(
            "Of losses, Brier score, calibration error and forgetting less is better. The verdicts are "
            "Holm's: if the arms do not differ at all, one or more is better or worse in at most 5% of "
            "experiments.",
        ),
        records=tuple(records),
    )


def judged_outcomes(rows: tuple[OutcomeRow, ...]) -> list[Judged]:
    """Puts the outcomes' verdicts as the answer wants them."""
    return [
        Judged(arm=title_of(arm), outcome=f"{row.outcome.name} on {row.evaluation_set}", verdict=verdict)
        for row in rows
        for arm, verdict in row.verdicts.items()
    ]


def _row(
    experiment: Experiment, name: str, outcome_name: str, values: Mapping[str, Mapping[int, float]]
) -> OutcomeRow:
    outcome = outcome_named(outcome_name)
    first, *others = [arm for arm in experiment.arms if arm in values]
    verdicts: dict[str, Verdict] = {}
    for arm in others if first == experiment.arms[0] else ():
        pairs = [
            (values[first][seed], value)
            for seed, value in values[arm].items()
            if seed in values[first] and not math.isnan(values[first][seed] + value)
        ]
        verdicts[arm] = outcome.judge(compare_pairs([one[0] for one in pairs], [one[1] for one in pairs]))
    return OutcomeRow(
        evaluation_set=name,
        outcome=outcome,
        arms={arm: summarize([v for v in of.values() if not math.isnan(v)]) for arm, of in values.items()},
        verdicts=verdicts,
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for of_set in record["sets"].values():
            for value in of_set["outcomes"].values():
                if value is not None and not isinstance(value, int | float):
                    raise TypeError
        _ = record["settings"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: these are no outcomes of a model. Remove the file.") from None
    return record


def _mean(summary: Summary, outcome: Outcome) -> str:
    if math.isnan(summary.mean):
        return "-"
    spread = "" if math.isnan(summary.sd) else f" ± {_number(summary.sd, outcome)}"
    return _number(summary.mean, outcome) + spread


def _difference(found: PairedComparison, outcome: Outcome) -> str:
    if not found.n:
        return "-"
    low, high = _number(found.low, outcome, "+"), _number(found.high, outcome, "+")
    return _number(found.difference, outcome, "+") + ("" if math.isnan(found.low) else f" ({low} to {high})")


def _number(value: float, outcome: Outcome, sign: str = "") -> str:
    """Writes points with one decimal, and what moves in hundredths (losses, Brier scores) with three."""
    return f"{value:{sign}.1f}" if outcome.margin >= 0.1 else f"{value:{sign}.3f}"
