"""Three ways of scoring a run."""

from __future__ import annotations

import math

import pytest

from lowland.report.runs import Run, Split
from lowland.report.selection import Selection, average, score_run

METRICS = {"a": ("em", "f1"), "b": ("accuracy",)}


Evaluations = list[tuple[Split, str, int, dict[str, float]]]


def evaluations(split: Split, name: str, values: dict[int, dict[str, float]]) -> Evaluations:
    """Makes evaluations of one set."""
    return [(split, name, step, metrics) for step, metrics in values.items()]


def run(*parts: Evaluations) -> Run:
    """Makes a finished run."""
    found: dict[Split, dict[int, dict[str, dict[str, float]]]] = {"evaluation": {}, "held_out": {}}
    for split, name, step, metrics in (one for part in parts for one in part):
        found[split].setdefault(step, {})[name] = metrics
    return Run(arm="sam", seed=0, state="done", evaluations=found)


SET_A = evaluations(
    "evaluation",
    "a",
    {
        0: {"em": 99, "f1": 99},
        10: {"em": 30, "f1": 50},
        20: {"em": 40, "f1": 45},
        30: {"em": 20, "f1": 60},
    },
)
SET_B = evaluations(
    "evaluation", "b", {0: {"accuracy": 99}, 10: {"accuracy": 7}, 20: {"accuracy": 9}, 30: {"accuracy": 8}}
)


def test_last_step() -> None:
    """The last step's scores are taken as they are."""
    assert score_run(run(SET_A, SET_B), METRICS, Selection.LAST_STEP) == (
        {("a", "em"): 20, ("a", "f1"): 60, ("b", "accuracy"): 8},
        30,
    )


def test_best_is_taken_per_task_and_metric() -> None:
    """Every score has its own best step, and the untrained model at step 0 is not among them."""
    assert score_run(run(SET_A, SET_B), METRICS, Selection.BEST) == (
        {("a", "em"): 40, ("a", "f1"): 60, ("b", "accuracy"): 9},
        None,
    )


def test_held_out_step_has_the_best_mean_over_tasks() -> None:
    """Metrics are averaged within a task first, then tasks; the evaluation set has no say."""
    held_out = [
        evaluations(
            "held_out", "x", {10: {"em": 0, "f1": 20}, 20: {"em": 40, "f1": 40}, 30: {"em": 0, "f1": 0}}
        ),
        evaluations("held_out", "y", {10: {"m": 50}, 20: {"m": 10}, 30: {"m": 70}}),
    ]
    # Means: (10 + 50) / 2 = 30, (40 + 10) / 2 = 25, (0 + 70) / 2 = 35. All pooled, step 20 would win.
    found = score_run(run(SET_A, SET_B, *held_out), METRICS, Selection.HELD_OUT)
    assert found == ({("a", "em"): 20, ("a", "f1"): 60, ("b", "accuracy"): 8}, 30)


@pytest.mark.parametrize("first", [10, 20])
def test_ties_go_to_the_earliest_step(first: int) -> None:
    """Of steps with equal held-out scores the earliest counts, and an undefined score never wins."""
    values = {10: 0.1 + 0.2, 20: 0.3, 30: 0.3} if first == 10 else {10: math.nan, 20: 0.3, 30: 0.3}
    held_out = evaluations("held_out", "x", {step: {"m": value} for step, value in values.items()})
    found = score_run(run(SET_A, SET_B, held_out), METRICS, Selection.HELD_OUT)
    assert found is not None
    assert found[1] == first


def test_a_step_needs_every_held_out_task() -> None:
    """A step at which a training task was not scored cannot win by the others alone."""
    held_out = [
        evaluations("held_out", "x", {10: {"m": 20.0}, 20: {"m": 90.0}}),
        evaluations("held_out", "y", {10: {"m": 20.0}}),
    ]
    found = score_run(run(SET_A, SET_B, *held_out), METRICS, Selection.HELD_OUT)
    assert found is not None
    assert found[1] == 10


def test_held_out_is_not_available_without_a_split() -> None:
    """Without held-out scores at an evaluated step there is nothing to choose by."""
    assert score_run(run(SET_A, SET_B), METRICS, Selection.HELD_OUT) is None
    elsewhere = evaluations("held_out", "x", {15: {"m": 1.0}})
    assert score_run(run(SET_A, SET_B, elsewhere), METRICS, Selection.HELD_OUT) is None


def test_a_missing_set_is_not_a_number() -> None:
    """A set that was not evaluated at the last step has no score there."""
    found = score_run(run(SET_A, SET_B[:3]), METRICS, Selection.LAST_STEP)
    assert found is not None
    assert math.isnan(found[0]["b", "accuracy"])


def test_average_takes_the_metrics_of_a_set_first() -> None:
    """A set with two metrics weighs as much as a set with one."""
    assert average({("a", "em"): 40, ("a", "f1"): 60, ("b", "accuracy"): 8}, METRICS) == 29
