"""How a claim is judged: by 95% intervals over seeds, by the rule that its plan names. RULES.md explains."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lowland.report.tables import difference_cell
from lowland.statistics import PairedComparison, compare_pairs

HERE = Path(__file__).parent
VALIDATION, LAST = "validation", "last step"

Record = Mapping[str, Any]
Scores = dict[int, float]  # seed -> score
MARGIN = 1.0  # points of a score that are worth having
EQUAL = 1e-4  # differences that agree to this many points are equal: result.json holds five decimals


@cache
def records() -> dict[str, dict[str, Any]]:
    """Reads all records: name of the folder -> record."""
    files = sorted(HERE.glob("20??-??-??_*/result.json"))
    return {file.parent.name: json.loads(file.read_bytes()) for file in files}


def curve(run: Record, split: str) -> np.ndarray:
    """Scores a run in percent at its steps: the mean over data sets, each the mean over its metrics."""
    sets = [np.array([*metrics.values()], dtype=float).mean(axis=0) for metrics in run[split].values()]
    return np.stack(sets).mean(axis=0)


def score(run: Record, at: str | int) -> float:
    """Scores a run at the last step, at a step, or at the first of those with the best validation score."""
    if at == VALIDATION:
        index = int(np.nan_to_num(curve(run, VALIDATION).round(4), nan=-math.inf).argmax())
    else:
        index = -1 if at == LAST else run["steps"].index(at)
    return float(curve(run, "test")[index])


def by_seed(record: Record, arm: str, value: Callable[[Record], float], seeds: Any = None) -> Scores:
    """Gives a value of each of an arm's runs, where it is defined."""
    runs = [run for run in record["runs"] if run["arm"] == arm and (seeds is None or run["seed"] in seeds)]
    return {run["seed"]: found for run in runs if not math.isnan(found := value(run))}


def mean_of(parts: Sequence[Scores]) -> Scores:
    """Averages over cells or tasks, for the seeds that all of them have."""
    seeds = set.intersection(*(set(part) for part in parts))
    return {seed: float(np.mean([part[seed] for part in parts])) for seed in sorted(seeds)}


def paired(reference: Scores, arm: Scores, *, by: Callable[..., Any] = operator.sub) -> Scores:
    """Gives the arm minus the reference, or by it, seed by seed."""
    return {seed: by(arm[seed], reference[seed]) for seed in sorted(arm.keys() & reference.keys())}


def interval(values: Collection[float]) -> PairedComparison:
    """Gives the mean of differences or ratios with its interval."""
    found = np.array([*values], dtype=float)
    if len(found) and np.ptp(found) <= EQUAL:
        found[:] = found.mean()
    compared = compare_pairs([0.0] * len(found), found.tolist())
    return replace(compared, difference=0.0) if abs(compared.difference) <= EQUAL else compared


def judge(
    claim: Record, cells: Sequence[Sequence[Scores]], planned: int
) -> tuple[str, str, PairedComparison]:
    """Judges a claim by each cell's scores, or times; gives the outcome, what decides, and its interval."""
    rule, reference = claim["rule"], cells[claim.get("reference", 0)]
    gains = [paired(*cell) for cell in cells]
    chosen = [gains[cell] for cell in claim.get("cells", range(len(cells)))]
    if rule == "cost":
        measured, what = [paired(*reference, by=operator.truediv)], "time of SAM by that of the baseline"
    elif rule == "trend":
        first, last = mean_of(gains[: claim["ends"]]), mean_of(gains[-claim["ends"] :])
        measured, what = [paired(last, first)], "gain in the first cells less that in the last"
    elif rule == "enough":
        measured = [paired(reference[1], cells[cell][1]) for cell in claim["against"]]
        what = "more than the reference, the most"
    elif rule == "every":
        measured, what = chosen, "SAM minus baseline, the least"
    else:
        measured, what = [mean_of(chosen)], "SAM minus baseline"
    found = [interval(of.values()) for of in measured]
    low, high, limit = found[0].low, found[0].high, claim.get("limit", np.nan)
    confirmed, refuted = {
        "gain": (low > 0, high < MARGIN),
        "trend": (low > 0, high < MARGIN),
        "kept": (low > -MARGIN, high < 0),
        "every": (all(of.low > 0 for of in found), any(of.high < 0 for of in found)),
        "enough": (all(of.high < MARGIN for of in found), any(of.low > 0 for of in found)),
        "cost": (high <= limit, low > limit),
    }[rule]
    decided = all(of.has_interval and of.n >= planned for of in found)
    word = "confirmed" if decided and confirmed else "not confirmed" if decided and refuted else "undecided"
    return word, what, (max if rule == "enough" else min)(found, key=lambda of: of.difference)


def pair(record: Record, comparison: Record, at: str | int) -> list[Scores]:
    """Gives the scores at a step, or the `seconds`, of a comparison's reference and of its other arm."""
    value = lambda run: run["seconds"] if at == "seconds" else score(run, at)
    arms = comparison["reference"], comparison["arm"]
    return [by_seed(record, arm, value, comparison.get("seeds")) for arm in arms]


def outcome(record: Record) -> tuple[str, str]:
    """Judges the claim of a record; gives the outcome and its figure."""
    claim, planned, cost = record["claim"], record["planned_seeds"], record["claim"]["rule"] == "cost"
    at = "seconds" if cost else LAST if claim.get("step") == "last-step" else VALIDATION
    word, what, found = judge(claim, [pair(record, of, at) for of in record["comparisons"]], planned)
    ratio = f"{found.difference:.2f} ({found.low:.2f} to {found.high:.2f})"
    seeds = f"{found.n} seeds" if found.n >= planned else f"{found.n} of {planned} planned seeds"
    return word, f"{what} {ratio if cost else difference_cell(found)}, {seeds}"
