"""What the records of PROTOCOL.md say: each judged outcome by `lowland.statistics.decide`.

`python -m records.log` writes the tables in LOG.md and docs/results.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from records.judge import interval, mean_of
from records.runs import LAST, VALIDATION, Record, by_seed, score

from lowland.statistics import Spread, Verdict, compare_pairs, decide, holm, power

OPPOSITE = {"better": "worse", "worse": "better"}

OUTCOMES: dict[str, tuple[str, float, bool]] = {
    "accuracy": ("points", 0.5, True),
    "loss": ("nats", 0.02, False),
    "Brier": ("", 0.005, False),
    "calibration": ("points", 0.5, False),
    "forgetting": ("nats", 0.02, False),
}
"""First word of an outcome -> its unit, the margin, and whether more is better."""

EQUAL = "forgetting at equal score"

READ: dict[str, Callable[[Record], float]] = {
    "seconds": lambda run: float(run["seconds"]),
    "accuracy": lambda run: score(run, LAST),
    "accuracy at half of the steps": lambda run: score(run, run["steps"][-1] // 2),
    "accuracy at the chosen step": lambda run: score(run, VALIDATION),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A judged outcome.

    Attributes:
        what: The model and the task, or the tasks.
        arm: The arm, and against what if not the baseline.
        outcome: The outcome.
        claim: Its letter where the row decides a claim, else empty.
        named: The verdict that the claim names.
        verdict: What was found.
        planned: How many seeds were planned.
    """

    what: str
    arm: str
    outcome: str
    claim: str
    named: str
    verdict: Verdict
    planned: int

    @property
    def word(self) -> str:
        """What became of the claim; empty where the row decides none."""
        found, enough = self.verdict.kind.value, self.verdict.comparison.n >= self.planned
        if not self.claim:
            return ""
        if found == self.named and enough:
            return "confirmed"
        return "not confirmed" if found in ("equal", OPPOSITE[self.named]) else "undecided"

    @property
    def figure(self) -> str:
        """The difference with its interval."""
        of, shown = self.verdict.comparison, "{:+.1f}" if self.verdict.unit == "points" else "{:+.3f}"
        if math.isnan(of.low):
            return shown.format(of.difference)
        return f"{shown} ({shown} to {shown})".format(of.difference, of.low, of.high)

    @property
    def sees(self) -> str:
        """The difference that these seeds see in 4 of 5 cases, by the spread that they show."""
        of = self.verdict.comparison
        if of.n < 2 or not of.sd > 0:
            return ""
        seen = power(of.n, Spread(value=of.sd, freedom=None, source="")).sees
        return f"{seen:.1f}" if self.verdict.unit == "points" else f"{seen:.3f}"


def members(record: Record, arm: str) -> list[str]:
    """Gives the arms that are one arm at several learning rates, as `sam-0.001` and `sam-0.01` are `sam`."""
    return [name for name in record["arms"] if name == arm or name.startswith(f"{arm}-")]


def values(record: Record, arm: str, outcome: str) -> dict[int, float]:
    """Gives an outcome of an arm's runs, averaged over its learning rates: seed -> value."""
    read = READ.get(outcome, lambda run: run["outcomes"].get(outcome, math.nan))
    return mean_of([by_seed(record, name, read) for name in members(record, arm)])


def at_equal_score(record: Record, arms: Sequence[str]) -> list[dict[int, float]]:
    """Gives two arms' forgetting at equal score: least squares, a slope in the score, an intercept an arm.

    Both are what the fit of a seed gives at the mean score of its runs.
    """
    found: list[dict[int, float]] = [{}, {}]
    rates = [members(record, arm) for arm in arms]
    for seed in sorted(set.intersection(*(set(values(record, arm, "forgetting")) for arm in arms))):
        runs = [
            (side, run)
            for side, names in enumerate(rates)
            for run in record["runs"]
            if run["seed"] == seed and run["arm"] in names
        ]
        scores = np.array([READ["accuracy"](run) for _, run in runs])
        sides = np.array([side for side, _ in runs])
        design = np.stack([1 - sides, sides, scores - scores.mean()], axis=1)
        lost = np.array([run["outcomes"]["forgetting"] for _, run in runs])
        fitted = np.linalg.lstsq(design, lost, rcond=None)[0]
        for side in (0, 1):
            found[side][seed] = float(fitted[side])
    return found


def row(records: Sequence[Record], judged: Mapping[str, Any], adjusted_p: float | None = None) -> Row:
    """Judges one outcome, over the tasks of all these records together."""
    arms = [judged["reference"], judged["arm"]]
    if judged["outcome"] == EQUAL:
        reference, arm = at_equal_score(records[0], arms)
    else:
        reference, arm = (
            mean_of([values(record, name, judged["outcome"]) for record in records]) for name in arms
        )
    seeds = sorted(reference.keys() & arm.keys())
    unit, margin, higher = OUTCOMES[judged["outcome"].split()[0]]
    verdict = decide(
        compare_pairs([reference[seed] for seed in seeds], [arm[seed] for seed in seeds]),
        margin=margin,
        higher_is_better=higher,
        unit=unit,
        adjusted_p=adjusted_p,
    )
    tasks = records[0].get("tasks", f"{len(records)} tasks")
    beside = "" if judged["reference"] == "baseline" else f" minus {judged['reference']}"
    return Row(
        what=f"{records[0]['model']}, {tasks if len(records) > 1 else records[0]['task']}",
        arm=judged["arm"] + beside,
        outcome=judged["outcome"],
        claim=judged.get("claim", ""),
        named=judged.get("named", ""),
        verdict=verdict,
        planned=records[0]["planned_seeds"],
    )


Judged = tuple[Sequence[Record], Mapping[str, Any]]


def rows(judged: Iterable[Judged]) -> list[Row]:
    """Judges outcomes of the same runs: those that decide a claim alone, the others by Holm's method."""
    asked = list(judged)
    found = [row(*of) for of in asked]
    others = [index for index, of in enumerate(found) if not of.claim]
    adjusted = holm([found[index].verdict.comparison.p for index in others])
    for index, p in zip(others, adjusted, strict=True):
        found[index] = row(*asked[index], None if math.isnan(p) else p)
    return found


def families(found: Mapping[str, Record]) -> list[list[Judged]]:
    """Gives what shares the risk: the outcomes of a record, or all of those that are judged together."""
    judged = [record for record in found.values() if "judged" in record]
    single: list[list[Judged]] = [
        [([record], of) for of in record["judged"]] for record in judged if "together" not in record
    ]
    together: dict[str, list[Record]] = {}
    for record in judged:
        if "together" in record:
            together.setdefault(f"{record['model']} {record['question']}", []).append(record)
    for group in together.values():
        tasks: list[Judged] = [([record], of) for record in group for of in record["judged"]]
        single.append([(group, of) for of in group[0]["together"]] + tasks)
    return single


def of_record(found: Mapping[str, Record], name: str) -> list[Row]:
    """Judges the outcomes of a record; the first of those judged together tells those of all, too."""
    for family in families(found):
        if any(found[name] is record for records, _ in family for record in records):
            judged = list(zip(family, rows(family), strict=True))
            own = [of for (records, _), of in judged if len(records) == 1 and records[0] is found[name]]
            return [of for (records, _), of in judged if len(records) > 1 and records[0] is found[name]] + own
    raise KeyError(name)


def tuning_table(record: Record) -> str:
    """Makes the table of the candidates of tuning; what was chosen, of equal ones the first, is bold."""
    made = ["| arm | learning rate | rho | validation accuracy |", "|---|---|---|---:|"]
    tried: Sequence[Record] = record["tuning"]
    for of in tried:
        candidates = [other for other in tried if other["arm"] == of["arm"]]
        chosen = max(candidates, key=lambda other: round(fmean(other["validation"]), 4))
        mean, settings = fmean(of["validation"]), of["settings"]
        shown = f"**{mean:.1f}**" if of is chosen else f"{mean:.1f}"
        rate = f"{settings['train.learning_rate']:g}" if "train.learning_rate" in settings else "all"
        cells = [of["arm"], rate, f"{settings.get('sam.rho', 0):g}", shown]
        made.append(f"| {' | '.join(cells)} |")
    return "\n".join(made)


def results(found: Mapping[str, Record]) -> list[Row]:
    """Judges all records of the protocol; gives what decides a claim, by letter, and what else is told."""
    told = []
    for family in families(found):
        told += [
            of
            for (_, asked), of in zip(family, rows(family), strict=True)
            if of.claim or asked.get("page", False)
        ]
    return sorted(told, key=lambda of: of.claim or "~")


def times_table(found: Mapping[str, Record]) -> str:
    """Makes the table of the times of whole runs that had a core for themselves."""
    alone: dict[str, list[Record]] = {}
    for record in found.values():
        if record.get("alone"):
            alone.setdefault(record["model"], []).append(record)
    made = ["| model | tasks | arm | baseline, seconds | by the baseline's (95% interval) | seeds |"]
    made.append("|---|---:|---|---:|---:|---:|")
    for model, group in alone.items():
        names = {name.partition("-")[0] for record in group for name in record["arms"]}
        for arm in sorted(names - {"baseline"}):
            shared = [record for record in group if members(record, arm)]
            times = [[values(record, name, "seconds") for record in shared] for name in ("baseline", arm)]
            ratios = mean_of(
                [
                    {seed: other[seed] / one[seed] for seed in one.keys() & other.keys()}
                    for one, other in zip(*times, strict=True)
                ]
            )
            of = interval(list(ratios.values()))
            base = fmean(second for one in times[0] for second in one.values())
            figure = f"{of.value:.2f} ({of.low:.2f} to {of.high:.2f})"
            made.append(f"| {model} | {len(shared)} | {arm} | {base:.0f} | {figure} | {of.n} |")
    return "\n".join(made)


def table(found: Sequence[Row], *, whole: bool = False) -> str:
    """Makes a table of judged outcomes; `whole` says of what each is, too."""
    head = ["arm", "outcome", "difference (95% interval)", "verdict", "seeds", "seen in 4 of 5", "claim"]
    made = ["| " + " | ".join(["model, task", *head] if whole else head) + " |"]
    made.append("|" + "---|" * (len(head) + whole))
    for of in found:
        claim = f"{of.claim}: {of.word}" if of.claim else ""
        cells = [
            of.arm,
            of.outcome,
            of.figure,
            of.verdict.words,
            str(of.verdict.comparison.n),
            of.sees,
            claim,
        ]
        made.append("| " + " | ".join([of.what, *cells] if whole else cells) + " |")
    return "\n".join(made)
