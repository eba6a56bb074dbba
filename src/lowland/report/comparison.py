"""From an experiment's runs to what can be said about them: scores, verdicts, cost, caveats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from lowland.outcomes.base import Outcome, score
from lowland.report.runs import Experiment, Run, title_of
from lowland.report.selection import AVERAGE, Key, Scores, Selection, average, keys_of, score_run
from lowland.report.words import count
from lowland.statistics import MARGIN, PairedComparison, Summary, Verdict, compare_pairs, holm, summarize

FEW_SEEDS = 5

Runs = Mapping[str, Sequence[Run]]  # arm -> the runs of it that count


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An outcome of an evaluation set: a score, or what else was measured."""

    evaluation_set: str  # or `average`
    outcome: Outcome  # of a score its name is the metric, or `all` for the average over sets and metrics
    arms: Mapping[str, Summary]  # the reference first; of its runs that count and have a number
    paired: Mapping[str, PairedComparison]  # each other arm against the reference
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)  # each other arm's, once they are decided

    @property
    def metric(self) -> str:
        """The name of what was measured."""
        return self.outcome.name

    @property
    def title(self) -> str:
        """Names it, for example `accuracy on glue/sst2`."""
        if self.evaluation_set == AVERAGE:
            return "average score" if self.metric == "all" else f"average {self.metric}"
        return f"{self.metric} on {self.evaluation_set}"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The experiment under one way of selecting."""

    selection: Selection
    rows: tuple[Measured, ...]  # the average first, where there is more than one score
    runs: Mapping[str, Mapping[int, Scores]]  # arm -> seed -> scores of the runs that count
    steps: Mapping[str, Mapping[int, int | None]]  # which they are from; `None` where each has its own


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is said about an experiment."""

    experiment: Experiment
    runs: Runs  # those that count
    scored: tuple[Scored, ...]  # one for each selection that is available; the first gives the headline
    seeds: tuple[int, ...]  # those that count: finished in the reference and another arm, or the only arm
    caveats: tuple[str, ...]  # what a reader must know before quoting a number

    @property
    def seconds(self) -> dict[str, dict[int, float]]:
        """Gives arm -> seed -> training time, evaluation left out."""
        times = {arm: {run.seed: run.train_seconds for run in runs} for arm, runs in self.runs.items()}
        return {arm: {seed: t for seed, t in own.items() if t is not None} for arm, own in times.items()}


def compare(experiment: Experiment, floors: Mapping[Key, float] = MappingProxyType({})) -> Comparison:
    """Scores an experiment: at the step chosen on held-out data where there is some, and at the last step.

    Of an arm the seeds count that finished in it and in the reference; without any, nothing is compared.
    `floors` are what a model scores that gives all examples the same answer; else 0.
    """
    finished = {arm: experiment.finished(arm) for arm in experiment.arms}
    first, *others = finished.values()
    seeds = [seed for seed in first if not others or any(seed in runs for runs in others)]
    counted = {
        arm: [run for seed, run in runs.items() if seed in seeds or not seeds]
        for arm, runs in finished.items()
    }
    ways = (Selection.HELD_OUT, Selection.LAST_STEP)
    found = [_score(experiment, counted, way, floors) for way in ways]
    scored = [way for way in found if way is not None]
    return Comparison(
        experiment=experiment,
        runs=counted,
        scored=tuple(scored),
        seeds=tuple(seeds),
        caveats=tuple(_caveats(experiment, counted, seeds, scored)),
    )


def _score(
    experiment: Experiment, counted: Runs, selection: Selection, floors: Mapping[Key, float]
) -> Scored | None:
    runs: dict[str, dict[int, Scores]] = {arm: {} for arm in counted}
    steps: dict[str, dict[int, int | None]] = {arm: {} for arm in counted}
    for run in (run for of_arm in counted.values() for run in of_arm):
        found = score_run(run, experiment.metrics, selection)
        if found is None:
            return None
        runs[run.arm][run.seed], steps[run.arm][run.seed] = found
    if not any(runs.values()):
        return None
    # What each row is the average of: all sets, one metric where every set has the same ones, and a score.
    # Metrics of one set are not averaged: the first one decides.
    metrics, columns = experiment.metrics, {}
    if len(metrics) > 1:
        columns[AVERAGE, "all"] = metrics
        first = next(iter(metrics.values()))
        if len(first) > 1 and all(listed == first for listed in metrics.values()):
            columns |= {(AVERAGE, metric): dict.fromkeys(metrics, (metric,)) for metric in first}
    columns |= {key: {key[0]: (key[1],)} for key in keys_of(metrics)}
    rows = []
    for (name, metric), listed in columns.items():
        values = {arm: {s: average(x, listed) for s, x in of_arm.items()} for arm, of_arm in runs.items()}
        arms, paired = against_first(values, sequential=bool(experiment.looks))
        outcome = score(metric, floors.get((name, metric), 0.0))
        rows.append(Measured(evaluation_set=name, outcome=outcome, arms=arms, paired=paired))
    # The first score decides on its own; the others share their risk of a false verdict.
    decided = (*decide_together(rows[:1]), *decide_together(rows[1:]))
    return Scored(selection=selection, rows=decided, runs=runs, steps=steps)


def against_first(
    values: Mapping[str, Mapping[int, float]], *, sequential: bool
) -> tuple[dict[str, Summary], dict[str, PairedComparison]]:
    """Sums up each arm over the seeds that have a number, and compares all with the first one."""
    known = {arm: {s: v for s, v in of.items() if not math.isnan(v)} for arm, of in values.items()}
    (_, first), *others = known.items()
    paired = {}
    for arm, own in others:
        seeds = [seed for seed in first if seed in own]
        paired[arm] = compare_pairs([first[s] for s in seeds], [own[s] for s in seeds], sequential=sequential)
    return {arm: summarize(list(own.values())) for arm, own in known.items()}, paired


def decide_together(rows: Sequence[Measured]) -> list[Measured]:
    """Decides outcomes and arms that share the risk of a false verdict, by Holm's method."""
    adjusted = iter(holm([paired.p for row in rows for paired in row.paired.values()]))
    judged = [
        {arm: row.outcome.judge(paired, adjusted_p=next(adjusted)) for arm, paired in row.paired.items()}
        for row in rows
    ]
    return [replace(row, verdicts=verdicts) for row, verdicts in zip(rows, judged, strict=True)]


def _caveats(
    experiment: Experiment, counted: Runs, seeds: Sequence[int], scored: Sequence[Scored]
) -> Iterator[str]:
    several = len(experiment.arms) > 1
    if several and 0 < len(seeds) < FEW_SEEDS:
        few = f"Only {count(len(seeds), 'seed')} to compare: a real difference is easily missed"
        yield f"{few}; {FEW_SEEDS} or more seeds tell more."
    if experiment.looks and several:
        yield (
            f"Seeds were added after a look at {', '.join(map(str, experiment.looks))}: the intervals are "
            "wider than Student's t, and hold however often seeds are added."
        )
    if rising := [title_of(arm) for arm, of_arm in counted.items() if _rises(of_arm)]:
        yield f"Scores still rise at the last step ({', '.join(rising)}): more steps may give another result."
    for run in experiment.runs:
        if run.state != "done" or not run.evaluated_steps:
            states = {
                "failed": f"failed and is left out: {run.error or 'no reason is recorded'}",
                "running": "has not finished and is left out.",
                "done": "has no scores and is left out.",
                "missing": "has not been run.",
            }
            yield f"{run.title} {states[run.state]}"
        elif several and seeds and run.seed not in seeds:
            others = f"{title_of(experiment.reference)} has not"
            why = "no other arm has" if run.arm == experiment.reference else others
            yield f"{run.title} is left out, because {why} finished this seed."
    runs = [run for of_arm in counted.values() for run in of_arm]
    if len({run.evaluated_steps for run in runs}) > 1:
        yield "The runs were not evaluated at the same steps, so that their scores do not compare fairly."
    for run in runs:
        if run.evaluated_steps[-1] < experiment.steps:
            yield f"{run.title} was last evaluated at step {run.evaluated_steps[-1]} of {experiment.steps}."
    for way, run in ((way, run) for way in scored for run in runs):
        lacking = [key for key, value in way.runs[run.arm][run.seed].items() if math.isnan(value)]
        for name, metric in lacking:
            yield (
                f"{run.title} has no {metric} on {name} ({way.selection.label}): it is left out of that "
                "row and of the average."
            )
    warnings: dict[str, list[str]] = {}
    for run in experiment.runs:
        for warning in dict.fromkeys(run.warnings):
            warnings.setdefault(warning, []).append(run.title)
    for warning, titles in warnings.items():
        where = ", ".join(titles) if len(titles) <= 3 else f"{len(titles)} of {len(experiment.runs)} runs"
        yield f"{warning} ({where})"


def _rises(runs: Sequence[Run]) -> bool:
    """Tells whether an arm's mean score, if below 100, is highest at the last step, by the margin."""
    by_step: dict[int, list[float]] = {}
    for step, sets in (one for run in runs for one in run.evaluated("evaluation").items()):
        by_step.setdefault(step, []).extend(float(np.mean(list(of.values()))) for of in sets.values())
    means = [float(np.mean(scores)) for step, scores in sorted(by_step.items()) if step > 0]
    return len(means) > 1 and means[-1] - max(means[:-1]) > MARGIN and means[-1] < 100
