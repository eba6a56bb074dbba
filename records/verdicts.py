"""What the records of PROTOCOL.md say: each judged outcome by `lowland.statistics.decide`."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from records.judge import LAST, VALIDATION, Record, Scores, by_seed, interval, mean_of, paired, score

from lowland.statistics import Spread, Verdict, compare_pairs, decide, holm, power

OUTCOMES = {  # first word of an outcome -> its unit, the margin, and whether more is better
    "accuracy": ("points", 0.5, True),
    "loss": ("nats", 0.02, False),
    "Brier": ("", 0.005, False),
    "calibration": ("points", 0.5, False),
    "forgetting": ("nats", 0.02, False),
}

READ = {
    "seconds": lambda run: float(run["seconds"]),
    "accuracy": lambda run: score(run, LAST),
    "accuracy at half of the steps": lambda run: score(run, run["steps"][-1] // 2),
    "accuracy at the chosen step": lambda run: score(run, VALIDATION),
}


class Row(NamedTuple):
    """A judged outcome."""

    records: Sequence[Record]  # of one task, or of several that are averaged
    asked: Mapping[str, Any]  # arms and outcome; of a claim its letter and the verdict that it names
    verdict: Verdict

    @property
    def word(self) -> str:
        """What became of the claim."""
        found, enough = self.verdict.kind, self.verdict.comparison.n >= self.records[0]["planned_seeds"]
        if found == self.asked["named"]:
            return "confirmed" if enough else "undecided"
        return "not confirmed" if found in ("better", "equal", "worse") else "undecided"

    @property
    def cells(self) -> list[str]:
        """What the row says in a table."""
        first, asked, of = self.records[0], self.asked, self.verdict.comparison
        tasks = first.get("tasks", f"{len(self.records)} tasks") if len(self.records) > 1 else first["task"]
        beside = "" if asked["reference"] == "baseline" else f" minus {asked['reference']}"
        digits = 1 if self.verdict.unit == "points" else 3
        found, low, high = (f"{value:+.{digits}f}" for value in (of.difference, of.low, of.high))
        # The difference that these seeds see in 4 of 5 cases, by the spread that they show.
        sees = power(of.n, Spread(value=of.sd, freedom=None, source="")).sees if of.sd > 0 else 0.0
        return [
            f"{first['model']}, {tasks}",
            asked["arm"] + beside,
            asked["outcome"],
            found if of.n < 2 else f"{found} ({low} to {high})",
            self.verdict.words,
            str(of.n),
            f"{sees:.{digits}f}" if sees else "",
            f"{asked['claim']}: {self.word}" if "claim" in asked else "",
        ]


def members(record: Record, arm: str) -> list[str]:
    """Gives the arms that are one arm at several learning rates, as `sam-0.001` and `sam-0.01` are `sam`."""
    return [name for name in record["arms"] if name == arm or name.startswith(f"{arm}-")]


def values(record: Record, arm: str, outcome: str) -> Scores:
    """Gives an outcome of an arm's runs, averaged over its learning rates."""
    read = READ.get(outcome, lambda run: run["outcomes"].get(outcome, math.nan))
    return mean_of([by_seed(record, name, read) for name in members(record, arm)])


def at_equal_score(record: Record, arms: Sequence[str]) -> list[Scores]:
    """Gives two arms' forgetting at a seed's mean score, by least squares: one slope, an intercept an arm."""
    found: list[Scores] = [{}, {}]
    names = [members(record, arm) for arm in arms]
    for seed in paired(*(values(record, arm, "forgetting") for arm in arms)):
        of_seed = [run for run in record["runs"] if run["seed"] == seed]
        runs = [(side, run) for run in of_seed for side in (0, 1) if run["arm"] in names[side]]
        table = [(side, score(run, LAST), run["outcomes"]["forgetting"]) for side, run in runs]
        sides, scores, lost = np.array(table).T
        design = np.stack([1 - sides, sides, scores - scores.mean()], axis=1)
        found[0][seed], found[1][seed], _ = np.linalg.lstsq(design, lost, rcond=None)[0].tolist()
    return found


def row(records: Sequence[Record], asked: Mapping[str, Any], adjusted_p: float | None = None) -> Row:
    """Judges one outcome, over the tasks of all these records together."""
    arms, outcome = (asked["reference"], asked["arm"]), asked["outcome"]
    if outcome == "forgetting at equal score":
        pair = at_equal_score(records[0], arms)
    else:
        pair = [mean_of([values(of, arm, outcome) for of in records]) for arm in arms]
    unit, margin, higher = OUTCOMES[outcome.split()[0]]
    found = compare_pairs(*([of[seed] for seed in paired(*pair)] for of in pair))
    verdict = decide(found, margin=margin, higher_is_better=higher, adjusted_p=adjusted_p, unit=unit)
    return Row(records, asked, verdict)


def rows(family: Iterable[tuple[Sequence[Record], Mapping[str, Any]]]) -> list[Row]:
    """Judges outcomes of the same runs: those that decide a claim alone, the others by Holm's method."""
    found = [row(*of) for of in family]
    adjusted = iter(holm([of.verdict.comparison.p for of in found if "claim" not in of.asked]))
    return [of if "claim" in of.asked else row(of.records, of.asked, next(adjusted)) for of in found]


def judged(found: Mapping[str, Record]) -> list[Row]:
    """Judges the outcomes of all records; of those judged together the first has the rows of all, too."""
    alone = [[record] for record in found.values() if "judged" in record and "together" not in record]
    together: dict[str, list[Record]] = {}
    for record in found.values():
        if "together" in record:
            together.setdefault(f"{record['model']} {record['question']}", []).append(record)
    made = []
    for group in [*alone, *together.values()]:
        of_all = [(group, asked) for asked in group[0].get("together", ())]
        made += rows(of_all + [([record], asked) for record in group for asked in record["judged"]])
    return made


def markdown(head: str, columns: str, rows: Sequence[Sequence[str]]) -> str:
    """Makes a table."""
    return "\n".join([head, columns, *(f"| {' | '.join(row)} |" for row in rows)])


def table(found: Iterable[Row], *, whole: bool = False) -> str:
    """Makes a table of judged outcomes; `whole` says of what each is, too."""
    head = "| arm | outcome | difference (95% interval) | verdict | seeds | seen in 4 of 5 | claim |"
    columns = "|" + "---|" * (7 + whole)
    return markdown("| model, task " * whole + head, columns, [of.cells[not whole :] for of in found])


def tuning_table(record: Record) -> str:
    """Makes the table of the candidates of tuning; what was chosen, of equal ones the first, is bold."""
    made = []
    for of in record["tuning"]:
        candidates = [other for other in record["tuning"] if other["arm"] == of["arm"]]
        chosen = max(candidates, key=lambda other: round(fmean(other["validation"]), 4))
        mean, settings = f"{fmean(of['validation']):.1f}", of["settings"]
        rate = f"{settings['train.learning_rate']:g}" if "train.learning_rate" in settings else "all"
        mean = f"**{mean}**" if of is chosen else mean
        made.append([of["arm"], rate, f"{settings.get('sam.rho', 0):g}", mean])
    return markdown("| arm | learning rate | rho | validation accuracy |", "|---|---|---|---:|", made)


def times_table(found: Mapping[str, Record]) -> str:
    """Makes the table of the times of whole runs that had a core for themselves."""
    alone = [record for record in found.values() if record.get("alone")]
    made = []
    for model in dict.fromkeys(record["model"] for record in alone):
        group = [record for record in alone if record["model"] == model]
        names = {name.partition("-")[0] for record in group for name in record["arms"]}
        for arm in sorted(names - {"baseline"}):
            pair = ("baseline", arm)
            tasks = [[values(of, name, "seconds") for name in pair] for of in group if members(of, arm)]
            times = interval(mean_of([paired(*task, by=operator.truediv) for task in tasks]).values())
            base = fmean(second for baseline, _ in tasks for second in baseline.values())
            ratio = f"{times.difference:.2f} ({times.low:.2f} to {times.high:.2f})"
            made.append([model, str(len(tasks)), arm, f"{base:.0f}", ratio, str(times.n)])
    head = "| model | tasks | arm | baseline, seconds | by the baseline's (95% interval) | seeds |"
    return markdown(head, "|---|---:|---|---:|---:|---:|", made)
