"""From an experiment's runs to what can be said about them: scores, verdicts, cost, caveats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lowland.report.runs import Arm, Experiment, Run
from lowland.report.selection import Scores, Selection, average, score_run
from lowland.report.words import count
from lowland.statistics import PairedComparison, Summary, compare_pairs, summarize

AVERAGE = "average"
FEW_SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One line of the score table.

    Attributes:
        evaluation_set: The evaluation set, or `average`.
        metric: The metric, or `all` for the average over sets and metrics.
        arms: Mean and spread of each arm; of its paired runs where there are any.
        paired: The comparison of the arms; `None` for an experiment with one arm.
    """

    evaluation_set: str
    metric: str
    arms: Mapping[Arm, Summary]
    paired: PairedComparison | None


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
    runs: Mapping[Arm, Mapping[int, Scores]]
    steps: Mapping[Arm, Mapping[int, int | None]]
    undefined: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Training time, evaluation left out.

    Attributes:
        seconds: Mean and spread of each arm's training seconds.
        ratio: Median over the pairs of SAM's time as a multiple of standard training's; nan without a pair.
        low: The smallest of these ratios.
        high: The largest.
        pairs: How many pairs there are.
    """

    seconds: Mapping[Arm, Summary]
    ratio: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is said about an experiment.

    Attributes:
        experiment: The experiment.
        scored: The selections that are available; the first one gives the headline.
        seeds: The seeds that count: finished in both arms, or in the only one.
        cost: Training time.
        caveats: What a reader must know before quoting a number.
    """

    experiment: Experiment
    scored: tuple[Scored, ...]
    seeds: tuple[int, ...]
    cost: Cost
    caveats: tuple[str, ...]

    @property
    def headline_row(self) -> ScoreRow | None:
        """The row that the headline speaks of, or `None` before anything has finished."""
        return self.scored[0].rows[0] if self.scored else None


def compare(experiment: Experiment) -> Comparison:
    """Scores an experiment in every way that is available.

    With two arms, only the seeds that finished in both count. Where no seed did, each arm's
    finished runs are summed up on their own and nothing is compared.

    Args:
        experiment: The experiment.

    Returns:
        The comparison.
    """
    finished = {arm: experiment.finished(arm) for arm in experiment.arms}
    seeds = tuple(seed for seed in experiment.seeds if all(seed in runs for runs in finished.values()))
    counted = {
        arm: [run for seed, run in runs.items() if seed in seeds or not seeds]
        for arm, runs in finished.items()
    }
    scored = tuple(
        found
        for selection in Selection
        if (found := _score(experiment, counted, seeds, selection)) is not None
    )
    return Comparison(
        experiment=experiment,
        scored=scored,
        seeds=seeds,
        cost=_cost(counted, seeds),
        caveats=_caveats(experiment, counted, seeds, scored),
    )


def _score(
    experiment: Experiment, counted: Mapping[Arm, Sequence[Run]], seeds: Sequence[int], selection: Selection
) -> Scored | None:
    runs: dict[Arm, dict[int, Scores]] = {arm: {} for arm in counted}
    steps: dict[Arm, dict[int, int | None]] = {arm: {} for arm in counted}
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
        rows=tuple(_row(*column, seeds) for column in means + columns),
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


def _row(name: str, metric: str, values: Mapping[Arm, Mapping[int, float]], seeds: Sequence[int]) -> ScoreRow:
    """Builds a row from each run's value; pairs without a number on both sides drop out."""
    if len(values) == 1 or not seeds:
        arms = {
            a: summarize([v for v in of_arm.values() if not math.isnan(v)]) for a, of_arm in values.items()
        }
        paired = compare_pairs([], []) if len(values) > 1 else None
        return ScoreRow(evaluation_set=name, metric=metric, arms=arms, paired=paired)
    pairs = [(values["standard"][seed], values["sam"][seed]) for seed in seeds]
    whole = [pair for pair in pairs if not math.isnan(sum(pair))]
    paired = compare_pairs([pair[0] for pair in whole], [pair[1] for pair in whole])
    return ScoreRow(
        evaluation_set=name,
        metric=metric,
        arms={"standard": paired.standard, "sam": paired.sam},
        paired=paired,
    )


def _cost(counted: Mapping[Arm, Sequence[Run]], seeds: Sequence[int]) -> Cost:
    seconds = {
        arm: {run.seed: run.train_seconds for run in runs if run.train_seconds is not None}
        for arm, runs in counted.items()
    }
    ratios = []
    if len(seconds) == 2:
        standard, sam = seconds["standard"], seconds["sam"]
        ratios = [sam[seed] / standard[seed] for seed in seeds if seed in sam and standard.get(seed, 0.0) > 0]
    return Cost(
        seconds={arm: summarize(list(values.values())) for arm, values in seconds.items()},
        ratio=float(np.median(ratios)) if ratios else math.nan,
        low=min(ratios, default=math.nan),
        high=max(ratios, default=math.nan),
        pairs=len(ratios),
    )


def _caveats(
    experiment: Experiment,
    counted: Mapping[Arm, Sequence[Run]],
    seeds: Sequence[int],
    scored: Sequence[Scored],
) -> tuple[str, ...]:
    caveats = []
    if len(experiment.arms) == 2 and 0 < len(seeds) < FEW_SEEDS:
        caveats.append(
            f"Only {count(len(seeds), 'seed')} in both arms: a real difference is easily missed; "
            f"{FEW_SEEDS} or more seeds tell more."
        )
    for run in experiment.runs:
        if run.state != "done" or not run.evaluated_steps:
            caveats.append(_unfinished(run))
        elif len(experiment.arms) == 2 and seeds and run.seed not in seeds:
            caveats.append(f"{run.title} is left out, because the other arm has not finished this seed.")
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


def _unfinished(run: Run) -> str:
    if run.state == "failed":
        return f"{run.title} failed and is left out: {run.error or 'no reason is recorded'}"
    if run.state == "running":
        return f"{run.title} has not finished and is left out."
    if run.state == "done":
        return f"{run.title} has no scores and is left out."
    return f"{run.title} has not been run."
