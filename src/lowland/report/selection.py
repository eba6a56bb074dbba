"""Three ways of saying what a run scored, because a run is evaluated at many steps.

The last step needs no choice. Choosing a step on held-out training data is fair as well.
Taking the best step on the evaluation set itself, for each task and metric on its own, is
what the paper does: it flatters every run, the more so the more often a run is evaluated
and the noisier it is.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

import numpy as np

from lowland.report.runs import Evaluation, Run

AVERAGE = "average"
"""Stands for an evaluation set where a score is the average over all."""

Scores = dict[tuple[str, str], float]
"""(evaluation set, metric) -> value in percent; nan where the run has none."""


class Selection(enum.Enum):
    """How a run's score is taken from its evaluations; the value is part of file names."""

    HELD_OUT = "held-out"
    LAST_STEP = "last-step"
    BEST = "best"

    @property
    def label(self) -> str:
        """What a reader is told."""
        return {
            Selection.HELD_OUT: "chosen on held-out training data",
            Selection.LAST_STEP: "last step",
            Selection.BEST: "best on the evaluation set, per task and metric (as in the paper; optimistic)",
        }[self]


def score_run(
    run: Run, metrics: Mapping[str, tuple[str, ...]], selection: Selection
) -> tuple[Scores, int | None] | None:
    """Scores a run.

    Step 0 is the model before training and is never selected.

    Returns:
        The scores and the step that they are from, which is `None` where every score has its own;
        or `None` when the selection is not available: no held-out split, or nothing evaluated.
    """
    by_step: dict[int, dict[str, Evaluation]] = {}
    for evaluation in run.evaluations:
        if evaluation.split == "evaluation" and evaluation.name in metrics and evaluation.step > 0:
            by_step.setdefault(evaluation.step, {})[evaluation.name] = evaluation
    if not by_step:
        return None
    if selection is Selection.BEST:
        return {key: _best(by_step, *key) for key in _keys(metrics)}, None
    step = max(by_step) if selection is Selection.LAST_STEP else held_out_step(run, set(by_step))
    if step is None:
        return None
    scores = {key: _value(by_step[step], *key) for key in _keys(metrics)}
    return scores, step


def held_out_step(run: Run, steps: set[int]) -> int | None:
    """Returns the step with the best held-out score.

    A step's score is the mean over the training tasks, each the mean of its metrics first; an
    undefined metric (nan) makes the step the worst. Of equal steps the earliest is taken.

    Returns:
        One of `steps`, or `None` when none has held-out scores for all tasks that have any.
    """
    by_step: dict[int, dict[str, float]] = {}
    for evaluation in run.evaluations:
        if evaluation.split == "held_out" and evaluation.step in steps and evaluation.metrics:
            by_step.setdefault(evaluation.step, {})[evaluation.name] = float(
                np.mean(list(evaluation.metrics.values()))
            )
    tasks = {task for scores in by_step.values() for task in scores}
    means = {
        step: float(np.mean(list(scores.values())))
        for step, scores in sorted(by_step.items())
        if scores.keys() == tasks
    }
    # max() keeps the first of equals, and the steps are in order. Rounding keeps two steps
    # that are equal but for the order of a sum from being told apart.
    return max(
        means, key=lambda step: -math.inf if math.isnan(means[step]) else round(means[step], 9), default=None
    )


def average(scores: Scores, metrics: Mapping[str, tuple[str, ...]]) -> float:
    """Returns the mean over the evaluation sets, a set with several metrics averaged first.

    Source:
        The averages of GLUE and SuperGLUE, as in the paper's tables.
    """
    return float(np.mean([np.mean([scores[name, key] for key in keys]) for name, keys in metrics.items()]))


def _keys(metrics: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(name, metric) for name, keys in metrics.items() for metric in keys]


def _value(evaluations: Mapping[str, Evaluation], name: str, metric: str) -> float:
    return evaluations[name].metrics[metric] if name in evaluations else math.nan


def _best(by_step: Mapping[int, Mapping[str, Evaluation]], name: str, metric: str) -> float:
    values = [_value(evaluations, name, metric) for evaluations in by_step.values()]
    return max((value for value in values if not math.isnan(value)), default=math.nan)
