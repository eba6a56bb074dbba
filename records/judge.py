"""How a claim is judged: by 95% intervals over seeds, by the rule that its plan names. RULES.md explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

MARGIN = 1.0
"""Points of a score that are worth having."""

EQUAL = 1e-4
"""Differences that agree to this many points are equal: result.json holds five decimals."""

Scores = Mapping[int, float]
"""Seed -> score."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The mean of some numbers with its 95% interval by Student's t; nan where there are too few."""

    value: float
    low: float
    high: float
    n: int
    holds: bool

    @property
    def verdict(self) -> str:
        """Whether the mean is above or below 0."""
        if self.n < 2:
            return "not enough seeds"
        if not self.holds or self.low <= 0 <= self.high:
            return "no difference detected"
        return "better" if self.low > 0 else "worse"


def interval(values: Sequence[float], equal: float = EQUAL) -> Interval:
    """Computes the interval; values that agree to `equal` show no spread and need six seeds (a sign test)."""
    n = len(values)
    mean = float(np.mean(values)) if n else np.nan
    alike = n > 0 and float(np.ptp(values)) <= equal
    low = high = mean if alike and n > 1 else np.nan
    if n > 1 and not alike:
        low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    return Interval(
        value=mean, low=float(low), high=float(high), n=n, holds=n > 1 and (not alike or 2 / 2**n < 0.05)
    )


def differences(reference: Scores, arm: Scores) -> dict[int, float]:
    """Subtracts the reference from the arm, seed by seed."""
    return {seed: arm[seed] - reference[seed] for seed in sorted(arm.keys() & reference.keys())}


def judge(
    claim: Mapping[str, Any],
    cells: Sequence[tuple[Scores, Scores]],
    seconds: Sequence[tuple[Scores, Scores]],
    planned: int,
) -> tuple[str, str, Interval]:
    """Judges a claim; gives the outcome, what was measured, and the interval that decides.

    Args:
        claim: Its rule and what the rule needs.
        cells: The scores of the reference and of SAM in each cell.
        seconds: Their training times.
        planned: How many seeds were planned; with fewer the claim is undecided.
    """
    rule, reference = claim["rule"], claim.get("reference", 0)
    gains = [differences(*cell) for cell in cells]
    chosen = claim.get("cells", range(len(cells)))
    if rule == "cost":
        baseline, sam = seconds[reference]
        measured = [{seed: sam[seed] / baseline[seed] for seed in baseline.keys() & sam.keys()}]
        what = "time of SAM by that of the baseline"
    elif rule == "trend":
        ends = claim["ends"]
        measured = [differences(mean_of(gains[-ends:]), mean_of(gains[:ends]))]
        what = "gain in the first cells less that in the last"
    elif rule == "enough":
        measured = [differences(cells[reference][1], cells[cell][1]) for cell in claim["against"]]
        what = "more than the reference, the most"
    elif rule == "every":
        measured, what = [gains[cell] for cell in chosen], "SAM minus baseline, the least"
    else:
        measured, what = [mean_of([gains[cell] for cell in chosen])], "SAM minus baseline"
    found = [interval(list(of.values())) for of in measured]
    shown = min(found, key=lambda one: -one.value if rule == "enough" else one.value)
    confirmed, refuted = _decide(rule, found, claim.get("limit", np.nan))
    decided = all(one.holds and one.n >= planned for one in found)
    word = "confirmed" if decided and confirmed else "not confirmed" if decided and refuted else "undecided"
    return word, what, shown


def _decide(rule: str, found: Sequence[Interval], limit: float) -> tuple[bool, bool]:
    """Says whether the intervals confirm a claim, and whether they rule it out."""
    one = found[0]
    return {
        "gain": (one.low > 0, one.high < MARGIN),
        "trend": (one.low > 0, one.high < MARGIN),
        "kept": (one.low > -MARGIN, one.high < 0),
        "every": (all(i.low > 0 for i in found), any(i.high < 0 for i in found)),
        "enough": (all(i.high < MARGIN for i in found), any(i.low > 0 for i in found)),
        "cost": (one.high <= limit, one.low > limit),
    }[rule]


def mean_of(parts: Sequence[Scores]) -> dict[int, float]:
    """Averages over cells or tasks, for the seeds that all of them have."""
    seeds = set.intersection(*(set(part) for part in parts))
    return {seed: float(np.mean([part[seed] for part in parts])) for seed in sorted(seeds)}
