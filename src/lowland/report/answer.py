"""The answer of an experiment in four lines: what was compared, the score, the rest, and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.report.words import count, signed
from lowland.statistics import Kind, Spread, Verdict, power

FIRST_SEEDS = 5
"""Seeds to begin with, where nothing is known of the spread."""

FEASIBLE = 40
"""More seeds than these are not advised."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict and what it is about."""

    arm: str  # the arm that is compared with the reference
    outcome: str  # what was measured, for example `accuracy on glue/sst2`
    verdict: Verdict


def answer(
    reference: str, judged: Sequence[Judged], others: Sequence[Judged] = (), where: str = "at the last step"
) -> tuple[str, str, str, str]:
    """Says in four lines what came out and what to do.

    Args:
        reference: The arm with which the others are compared.
        judged: The verdicts on the score that decides, one for each other arm.
        others: The verdicts on whatever else was measured.
        where: Where the scores are from.

    Returns:
        What was compared, the verdict for the score, the strongest other verdict, and what to do next.

    Raises:
        ValueError: If no arm was compared, or not all on the same outcome.
    """
    if not judged or len({one.outcome for one in judged}) > 1:
        raise ValueError("An answer needs one outcome, and a verdict on it for each arm.")
    seeds = max(one.verdict.comparison.n for one in judged)
    compared = (
        f"Compared: {', '.join(one.arm for one in judged)} with {reference} over {count(seeds, 'seed')}, "
        f"{judged[0].outcome} {where}."
    )
    score = "; ".join(f"{one.arm} {describe(one.verdict)}" for one in judged)
    return compared, f"Score: {score}.", _beside(others), _advice(reference, judged, others)


def describe(verdict: Verdict) -> str:
    """Writes a verdict with the figures behind it.

    Returns:
        For example `is undecided: -9.0 points (-18.6 to +0.6), worse in 4 of 4 seeds; about 6 seeds would
        decide`.
    """
    found, kind = verdict.comparison, verdict.kind
    if kind is Kind.NOTHING_LEARNED:
        at = found.most if verdict.higher_is_better else found.least
        return f"learned nothing, nor did the reference: no run is better than {at:.4g}"
    if kind is Kind.NOTHING_LEFT:
        return f"has nothing left to gain: every run of both arms is at {found.most:.4g}"
    if found.n == 0:
        return "cannot be judged: no seed has finished in both arms"
    # Points are told with one decimal; losses and the like move in hundredths.
    write = signed if verdict.margin >= 0.1 else "{:+.3f}".format
    figures = f"{write(found.difference)} {verdict.unit}".rstrip()
    if found.n > 1 and math.isfinite(found.low) and not found.equal_differences:
        figures += f" ({write(found.low)} to {write(found.high)})"
    worse = verdict.seeds_worse > verdict.seeds_better
    direction = f"worse in {verdict.seeds_worse}" if worse else f"better in {verdict.seeds_better}"
    direction += f" of {count(found.n, 'seed')}"
    if kind is Kind.TOO_FEW_SEEDS:
        return f"cannot be judged by one seed: {figures}"
    if kind is Kind.EQUAL:
        return f"is equal within {verdict.margin:g} {verdict.unit}".rstrip() + f": {figures}"
    needed = verdict.seeds_needed or 0
    if kind is not Kind.UNDECIDED or not needed:
        return f"is {kind.value}: {figures}, {direction}"
    more = f"about {needed} seeds would decide"
    if needed > FEASIBLE:
        more = f"it would take more than {FEASIBLE} seeds"
    return f"is undecided: {figures}, {direction}; {more}"


def recommended(reference: str, verdicts: Mapping[str, Verdict]) -> str:
    """Names the arm to use: the reference, unless others are better; of these the largest gain."""
    better = {arm: one for arm, one in verdicts.items() if one.kind is Kind.BETTER}
    return max(better, key=lambda arm: abs(better[arm].comparison.difference), default=reference)


def _beside(others: Sequence[Judged]) -> str:
    """Says the strongest of the other verdicts: the decided one that chance explains worst."""
    if not others:
        return "Other outcomes: none was measured."
    decided = [one for one in others if one.verdict.kind in (Kind.BETTER, Kind.WORSE)]
    if decided:
        return f"Other outcomes: {_told(min(decided, key=lambda one: one.verdict.p))}."
    kinds = dict.fromkeys(one.verdict.kind.value for one in others)
    said = f"Other outcomes: {count(len(others), 'verdict')}, none better or worse ({', '.join(kinds)})"
    open_ = [one for one in others if one.verdict.kind is Kind.UNDECIDED]
    if len(others) > 1 and open_:
        # So many verdicts are strict with each; what stands out is still worth a look.
        said += f"; the closest: {_told(min(open_, key=lambda one: one.verdict.comparison.p))}"
    return f"{said}."


def _told(one: Judged) -> str:
    return f"{one.outcome}, where {one.arm} {describe(one.verdict)}"


def _advice(reference: str, judged: Sequence[Judged], others: Sequence[Judged]) -> str:
    better = [one for one in judged if one.verdict.kind is Kind.BETTER]
    if better:
        chosen = " It was chosen among several: expect a smaller gain." if len(better) > 1 else ""
        return f"Advice: use {recommended(reference, {one.arm: one.verdict for one in better})}.{chosen}"
    kinds = {one.verdict.kind for one in judged}
    if kinds == {Kind.NOTHING_LEARNED}:
        return (
            f"Advice: make {reference} learn first: more steps, another learning rate, "
            "or a look at the predictions."
        )
    if kinds == {Kind.NOTHING_LEFT}:
        return f"Advice: use {reference}; to tell the arms apart, test on more or harder examples."
    if kinds == {Kind.TOO_FEW_SEEDS}:
        return f"Advice: run {FIRST_SEEDS} seeds or more; until then use {reference}."
    open_ = [one for one in judged if one.verdict.kind is Kind.UNDECIDED]
    if open_:
        needed = min((one.verdict.seeds_needed or math.inf for one in open_), default=math.inf)
        seeds = min(one.verdict.comparison.n for one in open_)
        if needed <= FEASIBLE:
            more = f"; a fresh comparison of {needed} seeds would probably decide"
        elif seeds < FIRST_SEEDS:
            more = f"; run {FIRST_SEEDS} seeds or more"
        else:
            more = f"; {_beyond_sight(open_)}"
        return f"Advice: use {reference}, since no gain is shown{more}."
    gains = [one for one in others if one.verdict.kind is Kind.BETTER]
    equal = {one.arm for one in judged if one.verdict.kind is Kind.EQUAL}
    for one in sorted(gains, key=lambda one: one.verdict.p):
        if one.arm in equal:
            return f"Advice: use {one.arm} where {one.outcome} counts, else {reference}."
    return f"Advice: use {reference}, since no gain is shown."


def _beyond_sight(undecided: Sequence[Judged]) -> str:
    """Says that no feasible number of seeds decides, and what difference these would have seen."""
    widest = max((one.verdict for one in undecided), key=lambda verdict: verdict.comparison.sd)
    found, unit = widest.comparison, widest.unit
    if found.sequential or not found.sd > 0:  # the price of the looks is not in what a number of seeds sees
        return "more seeds are unlikely to decide"
    spread = Spread(value=found.sd, freedom=found.n - 1, source="these pairs")
    sees = f"{power(found.n, spread).sees:.{1 if widest.margin >= 0.1 else 3}f} {unit}".rstrip()
    return f"more seeds are unlikely to decide: these {found.n} detect only {sees} or more with 80% power"
