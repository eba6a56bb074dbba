"""The estimate of the time that is left, against a clock that does as it is told."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest

from lowland.config.experiment import ExperimentConfig, build_config
from lowland.planning.remaining import Remaining
from lowland.train import StepReport

MINUTES = 60.0


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def config_of(seeds: int, log_every: int = 10, evaluate_every: int = 100) -> ExperimentConfig:
    """Both arms, 400 steps of 32 examples."""
    config = build_config({"data": {"tasks": ["facts/continents"]}, "seeds": list(range(seeds))})
    return replace(
        config, train=replace(config.train, log_every=log_every, evaluate_every=evaluate_every, steps=400)
    )


def report_of(step: int, seconds: float) -> StepReport:
    """A line of the log, of which only the step and the time matter here."""
    return StepReport(
        step=step,
        loss=1.0,
        learning_rate=1.0,
        gradient_norm=1.0,
        examples=1,
        target_tokens=1,
        seconds=seconds,
    )


def simulate(
    config: ExperimentConfig, step_seconds: dict[str, float], evaluation: float, start: float, done: int = 0
) -> list[tuple[float, float | None]]:
    """Plays an experiment; returns time and estimate after each event, counted from the beginning."""
    chance, clock = random.Random(0), Clock()
    runs = list(itertools.product(config.seeds, config.arms))
    finished = [(arm, seed) for seed, arm in runs[:done]]
    remaining = Remaining(config, finished, 400, clock)
    told: list[tuple[float, float | None]] = []
    for number, (seed, arm) in enumerate(runs):
        remaining.on_run(arm, seed)
        if number < done:
            continue
        clock.now += start
        seconds = 0.0
        for step in range(1, config.train.steps + 1):
            # The first steps are slow, and none is quite like another.
            took = step_seconds[arm] * chance.uniform(0.8, 1.2) * (4 if number == done and step < 4 else 1)
            clock.now += took
            seconds += took
            if step % config.train.log_every == 0 or step == config.train.steps:
                remaining.on_log(report_of(step, seconds))
                told.append((clock.now, remaining.seconds()))
                seconds = 0.0
            if step % config.train.evaluate_every == 0 or step == config.train.steps:
                clock.now += evaluation * chance.uniform(0.9, 1.1)
                remaining.on_scores(step)
                told.append((clock.now, remaining.seconds()))
    return [(now - 1000.0, estimate) for now, estimate in told]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("sam", [1.2, 1.37, 1.5])
@pytest.mark.parametrize("evaluation", [4.0, 40.0])
@pytest.mark.parametrize(("log_every", "evaluate_every"), [(10, 100), (7, 50)])
@pytest.mark.parametrize("done", [0, 1])
def test_the_end_is_foreseen(
    seeds: int, sam: float, evaluation: float, log_every: int, evaluate_every: int, done: int
) -> None:
    """After three minutes the end that is foreseen is within 10% of the end that comes, whatever the arms'
    speeds, the evaluations, and the runs that were done before.
    """
    config = config_of(seeds, log_every, evaluate_every)
    told = simulate(config, {"baseline": 1.0, "sam": sam}, evaluation, start=5.0, done=done)
    end = told[-1][0]
    late = [(now, left) for now, left in told if now > 3 * MINUTES]
    assert late
    for now, left in late:
        assert left is not None
        assert now + left == pytest.approx(end, rel=0.1), f"after {now:.0f} s of {end:.0f}"
    assert told[-1][1] == pytest.approx(0.0, abs=1.0)  # a second: what the last evaluation differs by


def test_an_interrupted_run_counts_what_is_left() -> None:
    """A run that goes on at an evaluation counts its steps from there, and that evaluation, too."""
    config, clock = config_of(1), Clock()
    remaining = Remaining(config, [("baseline", 0)], 400, clock)
    remaining.on_run("baseline", 0)
    remaining.on_run("sam", 0)
    assert remaining.seconds() is None
    remaining.on_resume(200)
    clock.now += 30.0
    remaining.on_scores(200)
    for step in (210, 220):
        clock.now += 20.0
        remaining.on_log(report_of(step, 20.0))
    seconds = remaining.seconds()
    assert seconds is not None
    evaluations = seconds - 180 * 2.0
    assert evaluations > 0 and math.isfinite(evaluations)
