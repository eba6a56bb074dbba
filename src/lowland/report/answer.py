"""What came out, in words: the headline, and four lines that end in what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.report.comparison import FEW_SEEDS, Comparison, Measured
from lowland.report.runs import title_of
from lowland.report.words import count, signed, spread
from lowland.statistics import Kind, Spread, Verdict, power, summarize

FEASIBLE = 40  # more seeds than these are not advised


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict and what it is about."""

    arm: str  # the arm that is compared with the reference
    outcome: str  # what was measured, for example `accuracy on glue/sst2`
    verdict: Verdict

    @property
    def told(self) -> str:
        """The verdict and where it is from."""
        return f"{self.outcome}, where {self.arm} {describe(self.verdict)}"


def headline(comparison: Comparison) -> str:
    """Says in one sentence what came out by the first selection."""
    if not comparison.scored:
        return f"{comparison.experiment.name}: no run has finished with a score yet."
    first = comparison.scored[0]
    row = first.rows[0]
    if row.paired:
        found = [f"{title_of(arm)} {describe(verdict)}" for arm, verdict in row.verdicts.items()]
        if len(found) > 1:  # the figures of several arms stand in the answer
            found = [one.partition(":")[0] for one in found]
        return f"{'; '.join(found)} ({row.title}, {first.selection.step})."
    ((arm, summary),) = row.arms.items()
    took = summarize(list(comparison.seconds[arm].values())).mean
    time = "" if math.isnan(took) else f"; training took {took:,.0f} s a run"
    score = f"{row.title} {spread(summary)} at the {first.selection.step}"
    return f"{title_of(arm)}: {score} ({count(summary.n, 'seed')}){time}."


def answer_of(comparison: Comparison, beside: Sequence[Measured]) -> tuple[str, ...]:
    """Answers from an experiment and outcomes beside its scores; not where no two arms can be compared."""
    if not comparison.scored or len(comparison.experiment.arms) < 2:
        return ()
    way, reference = comparison.scored[0], title_of(comparison.experiment.reference)
    others = _judged((*way.rows[1:], *beside))
    return answer(reference, _judged(way.rows[:1]), others, f"at the {way.selection.step}")


def _judged(rows: Sequence[Measured]) -> list[Judged]:
    return [
        Judged(arm=title_of(arm), outcome=row.title, verdict=verdict)
        for row in rows
        for arm, verdict in row.verdicts.items()
    ]


def answer(
    reference: str, judged: Sequence[Judged], others: Sequence[Judged] = (), where: str = "at the last step"
) -> tuple[str, str, str, str]:
    """Says in four lines what was compared, the score, the strongest other verdict, and what to do."""
    seeds = max(one.verdict.comparison.n for one in judged)
    compared = (
        f"Compared: {', '.join(one.arm for one in judged)} with {reference} over {count(seeds, 'seed')}, "
        f"{judged[0].outcome} {where}."
    )
    score = "; ".join(f"{one.arm} {describe(one.verdict)}" for one in judged)
    return compared, f"Score: {score}.", _beside(others), _advice(reference, judged, others)


def describe(verdict: Verdict) -> str:
    """Writes a verdict with its figures, such as `is better: +3.2 points, better in 4 of 4 seeds`."""
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
    better, worse = (found.higher, found.lower)[:: 1 if verdict.higher_is_better else -1]
    direction = f"worse in {worse}" if worse > better else f"better in {better}"
    direction += f" of {count(found.n, 'seed')}"
    if kind is Kind.TOO_FEW_SEEDS:
        return f"cannot be judged by one seed: {figures}"
    if kind is Kind.EQUAL:
        return f"is {verdict.words}: {figures}"
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
    if not others:
        return "Other outcomes: none was measured."
    decided = [one for one in others if one.verdict.kind in (Kind.BETTER, Kind.WORSE)]
    if decided:
        return f"Other outcomes: {min(decided, key=lambda one: one.verdict.p).told}."
    kinds = ", ".join(dict.fromkeys(one.verdict.kind.value for one in others))
    said = f"Other outcomes: {count(len(others), 'verdict')}, none better or worse ({kinds})"
    open_ = [one for one in others if one.verdict.kind is Kind.UNDECIDED]
    # So many verdicts are strict with each; what stands out is still worth a look.
    near = min(open_, key=lambda one: one.verdict.comparison.p) if len(others) > 1 and open_ else None
    return f"{said}; the closest: {near.told}." if near else f"{said}."


def _advice(reference: str, judged: Sequence[Judged], others: Sequence[Judged]) -> str:
    kinds = {one.verdict.kind for one in judged}
    better = {one.arm: one.verdict for one in judged if one.verdict.kind is Kind.BETTER}
    open_ = [one.verdict for one in judged if one.verdict.kind is Kind.UNDECIDED]
    if better:
        chosen = " It was chosen among several: expect a smaller gain." if len(better) > 1 else ""
        return f"Advice: use {recommended(reference, better)}.{chosen}"
    if kinds == {Kind.NOTHING_LEARNED}:
        tries = "more steps, another learning rate, or a look at the predictions"
        return f"Advice: make {reference} learn first: {tries}."
    if kinds == {Kind.NOTHING_LEFT}:
        return f"Advice: use {reference}; to tell the arms apart, test on more or harder examples."
    if kinds == {Kind.TOO_FEW_SEEDS}:
        return f"Advice: run {FEW_SEEDS} seeds or more; until then use {reference}."
    if open_:
        return f"Advice: use {reference}, since no gain is shown; {_what_would_decide(open_)}."
    equal = {one.arm for one in judged if one.verdict.kind is Kind.EQUAL}
    gains = [one for one in others if one.verdict.kind is Kind.BETTER and one.arm in equal]
    if gains:
        best = min(gains, key=lambda one: one.verdict.p)
        return f"Advice: use {best.arm} where {best.outcome} counts, else {reference}."
    return f"Advice: use {reference}, since no gain is shown."


def _what_would_decide(undecided: Sequence[Verdict]) -> str:
    needed = min(verdict.seeds_needed or math.inf for verdict in undecided)
    if needed <= FEASIBLE:
        return f"a fresh comparison of {needed} seeds would probably decide"
    if min(verdict.comparison.n for verdict in undecided) < FEW_SEEDS:
        return f"run {FEW_SEEDS} seeds or more"
    widest = max(undecided, key=lambda verdict: verdict.comparison.sd)
    found = widest.comparison
    if found.sequential or not found.sd > 0:  # the price of the looks is not in what a number of seeds sees
        return "more seeds are unlikely to decide"
    guess = Spread(value=found.sd, freedom=found.n - 1, source="these pairs")
    digits = 1 if widest.margin >= 0.1 else 3
    sees = f"{power(found.n, guess).sees:.{digits}f} {widest.unit}".rstrip()
    return f"more seeds are unlikely to decide: these {found.n} detect only {sees} or more with 80% power"
