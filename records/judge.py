"""How a claim is judged: by 95% intervals over seeds, by the rule that its plan names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from lowland.report.statistics import PairedComparison, compare_pairs

MARGIN = 1.0
"""Points of a score that are worth having: a gain of this size that the interval leaves out is not there."""

RULES = {
    "gain": (),
    "kept": (),
    "every": (),
    "trend": ("ends",),
    "enough": ("reference", "against"),
    "cost": ("reference", "limit"),
}
"""Rule -> what a claim that is judged by it must say."""

Scores = Mapping[int, float]
"""Seed -> score."""


def judge(
    claim: Mapping[str, Any],
    scores: Sequence[Mapping[str, Scores]],
    seconds: Mapping[tuple[int, str, int], float],
    planned: int = 2,
) -> dict[str, Any]:
    """Judges a claim by its rule.

    With fewer seeds than planned it is undecided, or else seeds could be added until an interval decides.

    Every rule looks at one or more means over seeds with their 95% intervals (Student's t):

    - `gain`: SAM minus standard, averaged over the cells named in `cells` (all by default). Confirmed above
      0, not confirmed below a gain of one point.
    - `kept`: as `gain`, but confirmed above a loss of one point, else not confirmed below 0.
    - `every`: the same for each of the cells by itself. Confirmed where all are above 0, not confirmed where
      one is below it.
    - `trend`: SAM minus standard in the first `ends` cells less that in the last `ends`. As `gain`.
    - `enough`: SAM's score in each of the cells `against` less that in the cell `reference`. Confirmed where
      none reaches a point more, not confirmed where one is above 0.
    - `cost`: SAM's training time in the cell `reference` by that of standard training. Confirmed up to
      `limit`, not confirmed above it.
    """
    rule = claim["rule"]
    outcome = partial(_outcome, planned=planned)
    pairs = [_differences(of_cell["standard"], of_cell["sam"]) for of_cell in scores]
    everywhere = range(len(scores))
    if rule in ("gain", "kept"):
        chosen = claim.get("cells", list(everywhere))
        decide = _gained if rule == "gain" else _kept
        return outcome([_mean([pairs[cell] for cell in chosen])], "SAM minus standard", decide)
    if rule == "every":
        chosen = claim.get("cells", list(everywhere))
        return outcome([pairs[cell] for cell in chosen], "SAM minus standard, the least", _all_gained)
    if rule == "trend":
        ends = claim["ends"]
        first, last = _mean(pairs[:ends]), _mean(pairs[-ends:])
        return outcome([_differences(last, first)], "SAM's gain, first cells less last", _gained)
    if rule == "enough":
        reference = scores[claim["reference"]]["sam"]
        more = [_differences(reference, scores[cell]["sam"]) for cell in claim["against"]]
        return outcome(more, "more than the reference, the most", _not_more)
    if rule == "cost":
        cell = claim["reference"]
        ratios = {
            seed: seconds[cell, "sam", seed] / seconds[cell, "standard", seed]
            for of_cell, arm, seed in seconds
            if of_cell == cell and arm == "sam" and (cell, "standard", seed) in seconds
        }
        limit = float(claim["limit"])
        return outcome([ratios], "time of SAM by that of standard training", lambda f: _cheap(f, limit))
    raise ValueError(f"Invalid {rule=}. Must be one of {', '.join(RULES)}.")


def _outcome(
    values: Sequence[Scores],
    what: str,
    decide: Callable[[Sequence[PairedComparison]], tuple[str, int]],
    planned: int,
) -> dict[str, Any]:
    """Computes the interval of each mean, decides, and gives the figure that decides."""
    found = [compare_pairs([0.0] * len(of), list(of.values())) for of in values]
    word, which = decide(found)
    if any(one.n < planned or not one.has_interval for one in found):
        word = "undecided"
    shown = found[which]
    return {
        "word": word,
        "what": what,
        "value": shown.difference,
        "low": shown.low,
        "high": shown.high,
        "seeds": shown.n,
        "planned": planned,
    }


def _gained(found: Sequence[PairedComparison]) -> tuple[str, int]:
    one = found[0]
    return "confirmed" if one.low > 0 else "not confirmed" if one.high < MARGIN else "undecided", 0


def _kept(found: Sequence[PairedComparison]) -> tuple[str, int]:
    one = found[0]
    return "confirmed" if one.low > -MARGIN else "not confirmed" if one.high < 0 else "undecided", 0


def _all_gained(found: Sequence[PairedComparison]) -> tuple[str, int]:
    least = min(range(len(found)), key=lambda index: found[index].difference)
    if all(one.low > 0 for one in found):
        return "confirmed", least
    return "not confirmed" if any(one.high < 0 for one in found) else "undecided", least


def _not_more(found: Sequence[PairedComparison]) -> tuple[str, int]:
    most = max(range(len(found)), key=lambda index: found[index].difference)
    if any(one.low > 0 for one in found):
        return "not confirmed", most
    return "confirmed" if all(one.high < MARGIN for one in found) else "undecided", most


def _cheap(found: Sequence[PairedComparison], limit: float) -> tuple[str, int]:
    one = found[0]
    return "confirmed" if one.high <= limit else "not confirmed" if one.low > limit else "undecided", 0


def _differences(one: Scores, other: Scores) -> dict[int, float]:
    """Subtracts one from the other, seed by seed."""
    return {seed: other[seed] - one[seed] for seed in sorted(one.keys() & other.keys())}


def _mean(cells: Sequence[Scores]) -> dict[int, float]:
    """Averages over cells, for the seeds that all of them have."""
    seeds = set.intersection(*(set(of_cell) for of_cell in cells))
    return {seed: float(np.mean([of_cell[seed] for of_cell in cells])) for seed in sorted(seeds)}
