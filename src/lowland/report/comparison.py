"""From an experiment's runs to what can be said about them: scores, verdicts, cost, caveats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lowland.report.runs import Experiment, Run, title_of
from lowland.report.selection import AVERAGE, Scores, Selection, average, score_run
from lowland.report.words import count
from lowland.statistics import MARGIN, PairedComparison, Summary, compare_pairs, summarize

FEW_SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One line of the score table.

    Attributes:
        evaluation_set: The evaluation set, or `average`.
        metric: The metric, or `all` for the average over sets and metrics.
        arms: Mean and spread of each arm, the reference first; of its paired runs where there are any.
        paired: Each of the other arms -> its comparison with the reference; empty where there is one arm.
    """

    evaluation_set: str
    metric: str
    arms: Mapping[str, Summary]
    paired: Mapping[str, PairedComparison]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The experiment under one way of selecting.

    Attributes:
        selection: The way.
        rows: The average first, where there is more than one score, then each set and metric.
        runs: The scores of the runs that count, by arm and seed.
        steps: The steps that the scores are from; `None` where every score has its own.
        undefined: Scores that are not a number, in words.
    """

    selection: Selection
    rows: tuple[ScoreRow, ...]
    runs: Mapping[str, Mapping[int, Scores]]
    steps: Mapping[str, Mapping[int, int | None]]
    undefined: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is said about an experiment.

    Attributes:
        experiment: The experiment.
        scored: The selections that are available; the first one gives the headline.
        seeds: The seeds that count: finished in the reference and another arm, or in the only arm.
        seconds: Arm -> seed -> training time, evaluation left out.
        caveats: What a reader must know before quoting a number.
    """

    experiment: Experiment
    scored: tuple[Scored, ...]
    seeds: tuple[int, ...]
    seconds: Mapping[str, Mapping[int, float]]
    caveats: tuple[str, ...]


def compare(experiment: Experiment) -> Comparison:
    """Scores an experiment: at the step chosen on held-out data where there is some, and at the last step.

    Of an arm the seeds count that finished in it and in the reference. Where there is none in any arm, each
    arm's finished runs are summed up on their own and nothing is compared.
    """
    finished = {arm: experiment.finished(arm) for arm in experiment.arms}
    first, *others = finished.values()
    seeds = tuple(
        seed
        for seed in experiment.seeds
        if seed in first and (not others or any(seed in runs for runs in others))
    )
    counted = {
        arm: [run for seed, run in runs.items() if seed in seeds or not seeds]
        for arm, runs in finished.items()
    }
    ways = (Selection.HELD_OUT, Selection.LAST_STEP)
    found = (_score(experiment, counted, seeds, selection) for selection in ways)
    scored = tuple(way for way in found if way is not None)
    return Comparison(
        experiment=experiment,
        scored=scored,
        seeds=seeds,
        seconds={
            arm: {run.seed: run.train_seconds for run in runs if run.train_seconds is not None}
            for arm, runs in counted.items()
        },
        caveats=_caveats(experiment, counted, seeds, scored),
    )


def _score(
    experiment: Experiment, counted: Mapping[str, Sequence[Run]], seeds: Sequence[int], selection: Selection
) -> Scored | None:
    runs: dict[str, dict[int, Scores]] = {arm: {} for arm in counted}
    steps: dict[str, dict[int, int | None]] = {arm: {} for arm in counted}
    undefined = []
    for arm, of_arm in counted.items():
        for run in of_arm:
            found = score_run(run, experiment.metrics, selection)
            if found is None:
                return None
            runs[arm][run.seed], steps[arm][run.seed] = found
            undefined += [
                f"{run.title} has no {metric} on {name} ({selection.label}): it is left out of that row "
                "and of the average."
                for (name, metric), value in found[0].items()
                if math.isnan(value)
            ]
    if not any(runs.values()):
        return None
    keys = [(name, metric) for name, listed in experiment.metrics.items() for metric in listed]
    columns = [
        (*key, {a: {s: scores[key] for s, scores in r.items()} for a, r in runs.items()}) for key in keys
    ]
    means = [
        (AVERAGE, label, {a: {s: average(x, listed) for s, x in r.items()} for a, r in runs.items()})
        for label, listed in _averages(experiment.metrics)
    ]
    return Scored(
        selection=selection,
        rows=tuple(_row(*column, seeds, bool(experiment.looks)) for column in means + columns),
        runs=runs,
        steps=steps,
        undefined=tuple(undefined),
    )


def _averages(metrics: Mapping[str, tuple[str, ...]]) -> list[tuple[str, Mapping[str, tuple[str, ...]]]]:
    """Lists the averages to print: over all sets, and for each metric where every set has the same ones.

    Metrics of one set are not averaged: the first one decides.
    """
    distinct = list(dict.fromkeys(metrics.values()))
    if len(metrics) == 1:
        return []
    averages: list[tuple[str, Mapping[str, tuple[str, ...]]]] = [("all", metrics)]
    if len(metrics) > 1 and len(distinct) == 1 and len(distinct[0]) > 1:
        averages += [(metric, dict.fromkeys(metrics, (metric,))) for metric in distinct[0]]
    return averages


def _row(
    name: str,
    metric: str,
    values: Mapping[str, Mapping[int, float]],
    seeds: Sequence[int],
    sequential: bool,
) -> ScoreRow:
    """Builds a row from each run's value; a pair without a number on both sides is left out."""
    (_, first), *others = values.items()
    paired = {arm: pair_seeds(first, of_arm, sequential=sequential) for arm, of_arm in others}
    arms = {arm: sum_up(of_arm) for arm, of_arm in values.items()}
    if len(others) == 1 and seeds:  # a run without its pair tells nothing of the difference
        (comparison,) = paired.values()
        arms = dict(zip(values, (comparison.reference, comparison.arm), strict=True))
    return ScoreRow(evaluation_set=name, metric=metric, arms=arms, paired=paired)


def pair_seeds(
    reference: Mapping[int, float], arm: Mapping[int, float], *, sequential: bool = False
) -> PairedComparison:
    """Compares an arm with the reference over the seeds in which both have a number."""
    seeds = [seed for seed in reference if not math.isnan(reference[seed] + arm.get(seed, math.nan))]
    return compare_pairs(
        [reference[seed] for seed in seeds], [arm[seed] for seed in seeds], sequential=sequential
    )


def sum_up(values: Mapping[int, float]) -> Summary:
    """Returns mean and spread over the seeds that have a number."""
    return summarize([value for value in values.values() if not math.isnan(value)])


def _caveats(
    experiment: Experiment,
    counted: Mapping[str, Sequence[Run]],
    seeds: Sequence[int],
    scored: Sequence[Scored],
) -> tuple[str, ...]:
    caveats = []
    if len(experiment.arms) > 1 and 0 < len(seeds) < FEW_SEEDS:
        caveats.append(
            f"Only {count(len(seeds), 'seed')} to compare: a real difference is easily missed; "
            f"{FEW_SEEDS} or more seeds tell more."
        )
    if experiment.looks and len(experiment.arms) > 1:
        looks = ", ".join(map(str, experiment.looks))
        caveats.append(
            f"Seeds were added after a look at {looks}, so that Student's t interval would no longer hold: "
            "those of scores and outcomes are wider, and hold however often seeds are added."
        )
    if rising := [title_of(arm) for arm, of_arm in counted.items() if _rises(of_arm)]:
        caveats.append(
            f"Scores still rise at the last step ({', '.join(rising)}): more steps may give another result."
        )
    for run in experiment.runs:
        if run.state != "done" or not run.evaluated_steps:
            caveats.append(_unfinished(run))
        elif len(experiment.arms) > 1 and seeds and run.seed not in seeds:
            reference = run.arm == experiment.reference
            why = "no other arm has" if reference else f"{title_of(experiment.reference)} has not"
            caveats.append(f"{run.title} is left out, because {why} finished this seed.")
    runs = [run for of_arm in counted.values() for run in of_arm]
    if len({run.evaluated_steps for run in runs}) > 1:
        caveats.append(
            "The runs were not evaluated at the same steps, so neither their last steps nor their best "
            "steps compare fairly."
        )
    caveats += [
        f"{run.title} was last evaluated at step {run.evaluated_steps[-1]} of {experiment.steps}."
        for run in runs
        if run.evaluated_steps[-1] < experiment.steps
    ]
    for way in scored:
        caveats += way.undefined
    warnings: dict[str, list[str]] = {}
    for run in experiment.runs:
        for warning in dict.fromkeys(run.warnings):
            warnings.setdefault(warning, []).append(run.title)
    for warning, titles in warnings.items():
        where = ", ".join(titles) if len(titles) <= 3 else f"{len(titles)} of {len(experiment.runs)} runs"
        caveats.append(f"{warning} ({where})")
    caveats += experiment.notes
    caveats += [note for run in experiment.runs for note in run.notes]
    return tuple(caveats)


def _rises(runs: Sequence[Run]) -> bool:
    """Tells whether an arm's mean score, if below 100, is highest at the last step, by the margin."""
    by_step: dict[int, list[float]] = {}
    for evaluation in (one for run in runs for one in run.evaluations if one.split == "evaluation"):
        by_step.setdefault(evaluation.step, []).append(float(np.mean(list(evaluation.metrics.values()))))
    means = [float(np.mean(scores)) for step, scores in sorted(by_step.items()) if step > 0]
    return len(means) > 1 and means[-1] - max(means[:-1]) > MARGIN and means[-1] < 100


def _unfinished(run: Run) -> str:
    if run.state == "failed":
        return f"{run.title} failed and is left out: {run.error or 'no reason is recorded'}"
    if run.state == "running":
        return f"{run.title} has not finished and is left out."
    if run.state == "done":
        return f"{run.title} has no scores and is left out."
    return f"{run.title} has not been run."
