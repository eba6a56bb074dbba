"""Three ways of saying what a run scored, because a run is evaluated at many steps.

The last step and one chosen on held-out training data are fair. The best step on the evaluation set itself,
for each task and metric on its own, is what the paper takes: it flatters every run.
"""

from __future__ import annotations

import enum
import math
from statistics import fmean

import numpy as np

from lowland.report.runs import Metrics, Run, Sets

AVERAGE = "average"  # stands for an evaluation set where a score is the average over all
Key = tuple[str, str]  # evaluation set and metric
Scores = dict[Key, float]  # in percent; nan where the run has none


class Selection(enum.Enum):
    """How a run's score is taken from its evaluations; the value is part of file names."""

    HELD_OUT = "held-out"
    LAST_STEP = "last-step"
    BEST = "best"

    @property
    def step(self) -> str:
        """What a reader is told: which step is taken."""
        return {
            Selection.HELD_OUT: "step chosen on held-out training data",
            Selection.LAST_STEP: "last step",
            Selection.BEST: "best step on the evaluation set",
        }[self]

    @property
    def label(self) -> str:
        """The same as a title."""
        return self.step.removeprefix("step ")


def keys_of(metrics: Metrics) -> list[Key]:
    """Lists all scores that there are, set by set."""
    return [(name, metric) for name, listed in metrics.items() for metric in listed]


def scores_at(sets: Sets, metrics: Metrics) -> Scores:
    """Gives the scores of a step, nan for what was not evaluated there."""
    return {(name, key): sets.get(name, {}).get(key, math.nan) for name, key in keys_of(metrics)}


def score_run(run: Run, metrics: Metrics, selection: Selection) -> tuple[Scores, int | None] | None:
    """Gives a run's scores and the step that they are from: `None` where every score has its own.

    Step 0 is the model before training and is never selected. `None` where there is nothing to select from.
    """
    at = {
        step: scores_at(sets, metrics)
        for step, sets in run.evaluated("evaluation").items()
        if step > 0 and sets.keys() & metrics.keys()
    }
    if not at:
        return None
    if selection is Selection.BEST:
        # fmax passes over nan, and gives it where there is nothing else.
        return {key: float(np.fmax.reduce([of[key] for of in at.values()])) for key in keys_of(metrics)}, None
    step = max(at) if selection is Selection.LAST_STEP else _held_out_step(run, set(at))
    return None if step is None else (at[step], step)


def _held_out_step(run: Run, steps: set[int]) -> int | None:
    """Returns which step has the best mean over the training tasks; one that lacks a task does not count."""
    by_step = {step: sets for step, sets in run.evaluated("held_out").items() if step in steps}
    tasks = {task for sets in by_step.values() for task in sets}
    means = {step: mean_score(sets) for step, sets in by_step.items() if sets.keys() == tasks}
    # max() keeps the first of equals, and the steps are in order. Rounding keeps two steps
    # that are equal but for the order of a sum from being told apart.
    return max(means, key=lambda step: round(means[step], 9), default=None)


def mean_score(sets: Sets) -> float:
    """Averages the metrics of each set, then the sets, as the paper does; undefined scores are worst."""
    mean = fmean(fmean(metrics.values()) for metrics in sets.values())
    return mean if math.isfinite(mean) else -math.inf


def average(scores: Scores, metrics: Metrics) -> float:
    """Returns the mean over the evaluation sets, a set with several metrics averaged first, as in GLUE."""
    return float(np.mean([np.mean([scores[name, key] for key in keys]) for name, keys in metrics.items()]))
