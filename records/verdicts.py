"""What the records of PROTOCOL.md say: each judged outcome by `lowland.statistics.decide`.

`python -m records.log` writes the tables in LOG.md and docs/results.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

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

READ: dict[str, Callable[[Record], float]] = {
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


def values(record: Record, arm: str, outcome: str) -> dict[int, float]:
    """Gives an outcome of an arm's runs: seed -> value."""
    read = READ.get(outcome, lambda run: run["outcomes"].get(outcome, math.nan))
    return dict(by_seed(record, arm, read))


def mean_of(parts: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Averages over tasks, for the seeds that all of them have."""
    seeds = set.intersection(*(set(part) for part in parts))
    return {seed: sum(part[seed] for part in parts) / len(parts) for seed in sorted(seeds)}


def row(records: Sequence[Record], judged: Mapping[str, Any], adjusted_p: float | None = None) -> Row:
    """Judges one outcome, over the tasks of all these records together."""
    reference, arm = (
        mean_of([values(record, judged[name], judged["outcome"]) for record in records])
        for name in ("reference", "arm")
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
    beside = "" if judged["reference"] == "baseline" else f" minus {judged['reference']}"
    return Row(
        what=f"{records[0]['model']}, {', '.join(record['task'] for record in records)}",
        arm=judged["arm"] + beside,
        outcome=judged["outcome"],
        claim=judged.get("claim", ""),
        named=judged.get("named", ""),
        verdict=verdict,
        planned=records[0]["planned_seeds"],
    )


def rows(records: Sequence[Record], judged: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Judges outcomes of the same runs: those that decide a claim alone, the others by Holm's method."""
    found = [row(records, of) for of in judged]
    others = [index for index, of in enumerate(found) if not of.claim]
    adjusted = holm([found[index].verdict.comparison.p for index in others])
    for index, p in zip(others, adjusted, strict=True):
        found[index] = row(records, list(judged)[index], None if math.isnan(p) else p)
    return found


def tuning_table(record: Record) -> str:
    """Makes the table of the candidates of tuning; what was chosen is bold."""
    made = ["| arm | learning rate | rho | validation accuracy |", "|---|---|---|---:|"]
    tried: Sequence[Record] = record["tuning"]
    for of in tried:
        best = max(fmean(other["validation"]) for other in tried if other["arm"] == of["arm"])
        mean, settings = fmean(of["validation"]), of["settings"]
        shown = f"**{mean:.1f}**" if mean == best else f"{mean:.1f}"
        cells = [of["arm"], f"{settings['train.learning_rate']:g}", f"{settings.get('sam.rho', 0):g}", shown]
        made.append(f"| {' | '.join(cells)} |")
    return "\n".join(made)


def results(found: Mapping[str, Record]) -> list[Row]:
    """Judges all records of the protocol, and claims over several tasks of a model together."""
    judged = [record for record in found.values() if "judged" in record]
    single = [of for record in judged for of in rows([record], record["judged"])]
    together: dict[str, list[Record]] = {}
    for record in judged:
        if "together" in record:
            together.setdefault(record["model"], []).append(record)
    return [*single, *(of for group in together.values() for of in rows(group, group[0]["together"]))]


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
